// SPDX-License-Identifier: Apache-2.0
#include "data/import_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.hpp"
#include "data/dataset_schema.hpp"

namespace phalanx {
namespace {

const char* target_text(const DatasetHeader& header) {
  if (header.target == TargetKind::kClass) return "class";
  return header.binary ? "binary" : "real";
}

// A length before each name keeps lists apart that would read alike.
void add_names(Sha256& digest, const char* what, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    digest.update(fmt::format("{} {} {}\n", what, name.size(), name));
}

std::int64_t rows_per_block(std::size_t row_bytes) {
  return std::max<std::int64_t>(1, schema::kBlockBytes / static_cast<std::int64_t>(row_bytes));
}

}  // namespace

Moments moments(std::span<const float> values) {
  if (values.empty()) return {};
  double sum = 0;
  for (const float v : values) sum += v;
  const double mean = sum / static_cast<double>(values.size());
  double squares = 0;
  for (const float v : values) squares += (v - mean) * (v - mean);
  return {mean, std::sqrt(squares / static_cast<double>(values.size()))};
}

std::vector<std::string> numbered_names(std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(fmt::format("{}", i));
  return names;
}

DatasetWriter::DatasetWriter(const std::string& path, SampleKind kind, const Shape& sample,
                             int deflate)
    : target_(path),
      file_(h5::File::create(target_.temporary_path())),
      kind_(kind),
      sample_(sample),
      dtype_(kind == SampleKind::kImage ? DType::kU8 : DType::kF32),
      row_bytes_(static_cast<std::size_t>(sample.numel()) * size_bytes(dtype_)),
      deflate_(deflate) {
  if (row_bytes_ == 0)
    throw InvalidInput(fmt::format("{}: samples of shape {} are empty", path, sample.str()));
  block_rows_ = rows_per_block(row_bytes_);
  if (kind == SampleKind::kImage) sums_.resize(static_cast<std::size_t>(sample[0]));
}

std::int64_t DatasetWriter::rows(const std::string& split) const {
  const auto found = splits_.find(split);
  if (found == splits_.end()) return 0;
  return found->second.written +
         static_cast<std::int64_t>(found->second.pending.size() / row_bytes_);
}

void DatasetWriter::append(const std::string& split, std::span<const std::byte> rows) {
  require(rows.size() % row_bytes_ == 0, "a data set grows by whole rows");
  Split& to = splits_[split];
  to.digest.update(rows);
  if (kind_ == SampleKind::kImage && split == schema::kTrain) add_to_sums(rows);
  const std::size_t block_bytes = row_bytes_ * static_cast<std::size_t>(block_rows_);
  while (!rows.empty()) {
    const std::size_t n = std::min(rows.size(), block_bytes - to.pending.size());
    to.pending.insert(to.pending.end(), rows.begin(),
                      rows.begin() + static_cast<std::ptrdiff_t>(n));
    rows = rows.subspan(n);
    if (to.pending.size() == block_bytes) flush(split, to, false);
  }
}

void DatasetWriter::flush(const std::string& name, Split& split, bool last) {
  const auto count = static_cast<std::int64_t>(split.pending.size() / row_bytes_);
  if (!split.x) {
    // A split that ends before its first block is full gets a block of its own size.
    const std::int64_t block = last ? std::max<std::int64_t>(count, 1) : block_rows_;
    if (!file_.exists(name)) file_.create_group(name);
    std::vector<std::int64_t> sizes{0};
    sizes.insert(sizes.end(), sample_.sizes().begin(), sample_.sizes().end());
    split.x = file_.create_dataset(name + "/" + schema::kX, dtype_,
                                   Shape(std::span<const std::int64_t>(sizes)),
                                   {.chunk_rows = block, .deflate = deflate_, .extendible = true});
  }
  if (count == 0) return;
  split.x->resize_rows(split.written + count);
  split.x->write_rows(split.written, split.written + count, split.pending.data());
  split.written += count;
  split.pending.clear();
}

void DatasetWriter::add_to_sums(std::span<const std::byte> rows) {
  const std::size_t plane = row_bytes_ / sums_.size();
  for (std::size_t at = 0; at < rows.size(); at += plane) {
    std::uint64_t sum = 0, squares = 0;
    for (std::size_t i = at; i < at + plane; ++i) {
      const auto v = std::to_integer<std::uint64_t>(rows[i]);
      sum += v;
      squares += v * v;
    }
    auto& channel = sums_[at / plane % sums_.size()];
    channel[0] += sum;
    channel[1] += squares;
  }
}

std::string DatasetWriter::write_targets(const std::string& name, const Split& split,
                                         const DatasetHeader& header, const Targets& targets) {
  const bool labels = header.target == TargetKind::kClass;
  const auto count =
      static_cast<std::int64_t>(labels ? targets.labels.size() : targets.values.size());
  const auto width = static_cast<std::int64_t>(labels ? 1 : header.target_mean.size());
  if (count != split.written * width)
    throw InvalidInput(fmt::format("{}: split '{}': {} rows of x, but {} values of y ({} per row)",
                                   target_.path(), name, split.written, count, width));
  const auto classes = static_cast<std::int64_t>(header.class_names.size());
  for (std::size_t i = 0; i < targets.labels.size(); ++i)
    if (targets.labels[i] < 0 || targets.labels[i] >= classes)
      throw InvalidInput(fmt::format("{}: split '{}' row {}: label {} is outside the {} classes",
                                     header.source, name, i, targets.labels[i], classes));
  const std::size_t row =
      labels ? sizeof(std::int64_t) : static_cast<std::size_t>(width) * sizeof(float);
  const h5::DatasetOptions options{.chunk_rows = std::min(rows_per_block(row), split.written),
                                   .deflate = deflate_};
  const Shape shape = labels ? Shape{split.written} : Shape{split.written, width};
  h5::Dataset y = file_.create_dataset(name + "/" + schema::kY, labels ? DType::kI64 : DType::kF32,
                                       shape, options);
  y.write(labels ? static_cast<const void*>(targets.labels.data()) : targets.values.data());
  return labels ? sha256_hex(std::as_bytes(std::span(targets.labels)))
                : sha256_hex(std::as_bytes(std::span(targets.values)));
}

void DatasetWriter::write_header(const DatasetHeader& header, const std::string& content) {
  std::vector<double> mean = header.mean, deviation = header.std;
  const auto n = static_cast<long double>(rows(schema::kTrain)) *
                 static_cast<long double>(sample_.numel()) /
                 static_cast<long double>(std::max<std::size_t>(1, sums_.size()));
  for (const auto& [sum, squares] : sums_) {
    const long double average = static_cast<long double>(sum) / n;
    const long double variance = static_cast<long double>(squares) / n - average * average;
    mean.push_back(static_cast<double>(average / 255));
    deviation.push_back(static_cast<double>(std::sqrt(std::max(variance, 0.0L)) / 255));
  }
  file_.write_attribute(schema::kFormatAttribute, schema::kFormat);
  file_.write_attribute(schema::kVersionAttribute, schema::kVersion);
  file_.write_attribute(schema::kKind, kind_ == SampleKind::kImage ? "image" : "table");
  file_.write_attribute(schema::kTarget, target_text(header));
  file_.write_attribute(schema::kClassNames, header.class_names);
  file_.write_attribute(schema::kFeatureNames, header.feature_names);
  file_.write_attribute(schema::kTargetNames, header.target_names);
  file_.write_attribute(schema::kMean, mean);
  file_.write_attribute(schema::kStd, deviation);
  file_.write_attribute(schema::kTargetMean, header.target_mean);
  file_.write_attribute(schema::kTargetStd, header.target_std);
  file_.write_attribute(schema::kContentSha256, content);
  file_.write_attribute(schema::kSource, header.source);
  file_.write_attribute(schema::kSourceSha256, header.source_sha256);
}

void DatasetWriter::finish(const DatasetHeader& header,
                           const std::map<std::string, Targets>& targets) {
  if (rows(schema::kTrain) == 0)
    throw InvalidInput(fmt::format("{}: there is no row for the split 'train'", header.source));
  Sha256 content;
  content.update(fmt::format("{} {}\nkind {}\ntarget {}\nsample {}\n", schema::kFormat,
                             schema::kVersion, kind_ == SampleKind::kImage ? "image" : "table",
                             target_text(header), fmt::join(sample_.sizes(), ",")));
  add_names(content, "class", header.class_names);
  add_names(content, "feature", header.feature_names);
  add_names(content, "target_name", header.target_names);
  for (auto& [name, split] : splits_) {
    flush(name, split, true);
    const auto found = targets.find(name);
    if (found == targets.end())
      throw InvalidInput(fmt::format("{}: split '{}' has no targets", header.source, name));
    const std::string y = write_targets(name, split, header, found->second);
    content.update(fmt::format("split {} {} {} {}\n", name, split.written, split.digest.hex(), y));
  }
  write_header(header, content.hex());
  splits_.clear();  // closes the arrays, which must be closed before the file
  file_.close();
  target_.commit();
}

}  // namespace phalanx
