// SPDX-License-Identifier: Apache-2.0
#include "predict/prediction_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "core/error.hpp"
#include "formats/atomic_file.hpp"
#include "models/answers.hpp"

namespace phalanx {
namespace {

constexpr const char* kFormat = "phalanx.predictions";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kCsvRows = 4096;  // converted at a time

std::string_view kind_name(PredictionKind::Kind kind) {
  return kind == PredictionKind::Kind::kClass    ? "class"
         : kind == PredictionKind::Kind::kBinary ? "binary"
                                                 : "values";
}

/// A field of a CSV file, quoted where RFC 4180 asks for it.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

void PredictionFile::create(const std::string& path, const std::string& identity,
                            const PredictionKind& kind, std::int64_t rows,
                            std::int64_t batch_rows) {
  AtomicFile atomic(path);
  h5::File file = h5::File::create(atomic.temporary_path());
  file.write_attribute("format", kFormat);
  file.write_attribute("version", kVersion);
  file.write_attribute("kind", kind_name(kind.kind));
  file.write_attribute("identity", identity);
  file.write_attribute("names", std::span<const std::string>(kind.names));
  if (kind.kind == PredictionKind::Kind::kBinary) file.write_attribute("threshold", kind.threshold);
  const Shape per_output{rows, kind.outputs};
  file.create_dataset("row", DType::kI64, Shape{rows});
  if (kind.kind == PredictionKind::Kind::kValues) {
    file.create_dataset("prediction", DType::kF32, per_output);
  } else {
    const bool is_class = kind.kind == PredictionKind::Kind::kClass;
    file.create_dataset("prediction", DType::kI64, is_class ? Shape{rows} : per_output);
    file.create_dataset("probability", DType::kF32, per_output);
  }
  const std::int64_t batches = (rows + batch_rows - 1) / batch_rows;
  const std::vector<std::uint8_t> nothing(static_cast<std::size_t>(batches), 0);
  file.create_dataset("done", DType::kU8, Shape{batches}).write(nothing.data());
  file.close();
  atomic.commit();
}

bool PredictionFile::exists(const std::string& path, const std::string& identity) {
  if (!std::filesystem::exists(path)) return false;
  const h5::File file = h5::File::open(path);
  if (!file.has_attribute("format") || file.string_attribute("format") != kFormat)
    throw InvalidInput(fmt::format("{}: exists, but is not a file of predictions", path));
  if (const std::string found = file.string_attribute("identity"); found != identity)
    throw InvalidInput(fmt::format(
        "{} holds other predictions: {}; wanted: {}. Choose another output folder or remove it.",
        path, found, identity));
  return true;
}

PredictionFile::PredictionFile(const std::string& path, const PredictionKind& kind, void* mpi_comm)
    : kind_(kind),
      file_(h5::File::open_writable(path, mpi_comm)),
      row_(file_.open_dataset("row")),
      prediction_(file_.open_dataset("prediction")),
      done_(file_.open_dataset("done")) {
  if (kind.kind != PredictionKind::Kind::kValues) probability_ = file_.open_dataset("probability");
}

void PredictionFile::write_batch(std::int64_t batch, std::int64_t begin, std::int64_t rows,
                                 const float* logits) {
  const std::int64_t outputs = kind_.outputs, end = begin + rows;
  row_numbers_.resize(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i) row_numbers_[i] = begin + i;
  values_.resize(static_cast<std::size_t>(rows * outputs));
  row_.write_rows(begin, end, row_numbers_.data());
  if (kind_.kind == PredictionKind::Kind::kValues) {
    prediction_.write_rows(begin, end, logits);
  } else if (kind_.kind == PredictionKind::Kind::kClass) {
    answers_.resize(static_cast<std::size_t>(rows));
    for (std::int64_t i = 0; i < rows; ++i) {
      const float* x = logits + i * outputs;
      softmax_row(x, outputs, values_.data() + i * outputs);
      answers_[i] = std::max_element(x, x + outputs) - x;
    }
  } else {
    answers_.resize(static_cast<std::size_t>(rows * outputs));
    for (std::int64_t i = 0; i < rows * outputs; ++i) {
      values_[i] = sigmoid_of(logits[i]);
      answers_[i] = static_cast<double>(values_[i]) >= kind_.threshold;
    }
  }
  if (probability_) {
    prediction_.write_rows(begin, end, answers_.data());
    probability_->write_rows(begin, end, values_.data());
  }
  const std::uint8_t one = 1;
  done_.write_rows(batch, batch + 1, &one);
}

void PredictionFile::close() {
  probability_.reset();
  const auto drop = [](h5::Dataset dataset) { (void)dataset; };  // objects close before their file
  drop(std::move(row_));
  drop(std::move(prediction_));
  drop(std::move(done_));
  file_.close();
}

void write_prediction_csv(const std::string& from, const std::string& to) {
  const h5::File file = h5::File::open(from);
  const auto names = file.strings_attribute("names");
  const std::string kind = file.string_attribute("kind");
  const h5::Dataset prediction = file.open_dataset("prediction");
  std::optional<h5::Dataset> probability;
  if (kind != "values") probability = file.open_dataset("probability");
  const std::int64_t rows = prediction.rows();
  const std::int64_t outputs = (probability ? *probability : prediction).shape()[1];
  const std::int64_t answers = kind == "class" ? 1 : outputs;
  const auto name_of = [&](std::int64_t i) {
    return i < static_cast<std::int64_t>(names.size()) ? names[static_cast<std::size_t>(i)]
                                                       : fmt::format("{}", i);
  };

  AtomicFile atomic(to);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(
      std::fopen(atomic.temporary_path().c_str(), "w"), std::fclose);
  if (!out) throw IoError(fmt::format("cannot write {}", atomic.temporary_path()));
  std::string text = "row";
  if (kind == "class") text += ",prediction";
  if (kind == "binary" || kind == "values")
    for (std::int64_t k = 0; k < outputs; ++k) text += "," + csv_field("prediction_" + name_of(k));
  if (probability)
    for (std::int64_t k = 0; k < outputs; ++k) text += "," + csv_field("probability_" + name_of(k));
  text += "\n";
  std::vector<std::int64_t> labels;
  std::vector<float> values;
  for (std::int64_t begin = 0; begin < rows; begin += kCsvRows) {
    const std::int64_t end = std::min(rows, begin + kCsvRows);
    values.resize(static_cast<std::size_t>((end - begin) * outputs));
    labels.resize(static_cast<std::size_t>((end - begin) * answers));
    if (probability) {
      prediction.read_rows(begin, end, labels.data());
      probability->read_rows(begin, end, values.data());
    } else {
      prediction.read_rows(begin, end, values.data());
    }
    for (std::int64_t i = 0; i < end - begin; ++i) {
      text += fmt::format("{}", begin + i);
      for (std::int64_t k = 0; probability && k < answers; ++k)
        text += "," + (kind == "class" ? csv_field(name_of(labels[i]))
                                       : fmt::format("{}", labels[i * answers + k]));
      for (std::int64_t k = 0; k < outputs; ++k)
        text += fmt::format(",{}", values[i * outputs + k]);
      text += "\n";
    }
    if (std::fwrite(text.data(), 1, text.size(), out.get()) != text.size())
      throw IoError(fmt::format("cannot write {}: is the disk full?", atomic.temporary_path()));
    text.clear();
  }
  if (std::fflush(out.get()) != 0)
    throw IoError(fmt::format("cannot write {}: is the disk full?", atomic.temporary_path()));
  atomic.commit();
}

}  // namespace phalanx
