// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>

#include "core/error.hpp"
#include "core/rng.hpp"
#include "core/text.hpp"
#include "data/dataset_schema.hpp"
#include "data/import_sources.hpp"
#include "data/import_table.hpp"
#include "data/import_writer.hpp"

namespace phalanx {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

enum class CsvKind { kClassification, kBinary, kRegression };
enum class OnMissing { kError, kDrop, kMean };

template <class T>
T choose(const char* option, const std::string& text,
         std::initializer_list<std::pair<const char*, T>> choices) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
    names.emplace_back(name);
  }
  throw ConfigError(
      fmt::format("{}: expected one of {}, found '{}'", option, fmt::join(names, ", "), text));
}

// Rows of numbers; a missing feature is NaN until it is filled in.
struct Table {
  std::vector<float> x;              // [rows, features]
  std::vector<std::int64_t> labels;  // [rows], of classes
  std::vector<float> values;         // [rows, targets], otherwise
  std::int64_t rows = 0;
};

class TableEncoder {
 public:
  TableEncoder(std::vector<CsvColumn> columns, const ImportOptions& options,
               std::vector<std::string> class_names);

  Table encode(const CsvText& text, std::int64_t& dropped);
  DatasetHeader header() const;
  std::int64_t features() const noexcept {
    return static_cast<std::int64_t>(feature_names_.size());
  }
  OnMissing on_missing() const noexcept { return on_missing_; }

 private:
  bool encode_row(const std::vector<std::string>& cells, const CsvRows& rows, Table& table);
  void encode_feature(const CsvColumn& column, const std::string& cell,
                      std::vector<float>& x) const;
  void encode_target(const CsvColumn& column, const std::string& cell, const std::string& where,
                     Table& table) const;
  void name_classes(std::vector<std::string> given);

  const ImportOptions& options_;
  std::vector<CsvColumn> columns_;
  CsvKind kind_;
  OnMissing on_missing_;
  std::vector<std::string> feature_names_, target_names_, class_names_;
  bool named_labels_ = false;  // names were given: cells are the labels 0, 1, ...
};

TableEncoder::TableEncoder(std::vector<CsvColumn> columns, const ImportOptions& options,
                           std::vector<std::string> class_names)
    : options_(options),
      columns_(std::move(columns)),
      kind_(choose<CsvKind>("csv-kind", options.csv_kind,
                            {{"classification", CsvKind::kClassification},
                             {"binary", CsvKind::kBinary},
                             {"regression", CsvKind::kRegression}})),
      on_missing_(choose<OnMissing>(
          "csv-missing", options.csv_missing,
          {{"error", OnMissing::kError}, {"drop", OnMissing::kDrop}, {"mean", OnMissing::kMean}})) {
  choose<int>("csv-text", options.csv_text, {{"category", 0}, {"error", 1}});
  for (const CsvColumn& column : columns_) {
    if (column.role == CsvColumn::Role::kTarget) target_names_.push_back(column.name);
    if (column.role != CsvColumn::Role::kFeature) continue;
    if (column.numeric) feature_names_.push_back(column.name);
    if (column.numeric) continue;
    for (const std::string& value : column.values)
      feature_names_.push_back(column.name + "=" + value);
  }
  if (feature_names_.empty()) throw ConfigError("csv: no column is left that could be a feature");
  name_classes(std::move(class_names));
}

void TableEncoder::name_classes(std::vector<std::string> given) {
  if (kind_ == CsvKind::kClassification && target_names_.size() != 1)
    throw ConfigError(fmt::format("csv-target: classification has one target column, found {}",
                                  target_names_.size()));
  if (kind_ == CsvKind::kRegression || target_names_.size() != 1) return;
  const auto target = std::find_if(columns_.begin(), columns_.end(), [](const CsvColumn& c) {
    return c.role == CsvColumn::Role::kTarget;
  });
  named_labels_ = !given.empty();
  class_names_ = named_labels_ ? std::move(given) : target->values;
}

bool TableEncoder::encode_row(const std::vector<std::string>& cells, const CsvRows& rows,
                              Table& table) {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const CsvColumn& column = columns_[i];
    if (column.role == CsvColumn::Role::kIgnored || !is_missing(cells[i])) continue;
    if (on_missing_ == OnMissing::kDrop) return false;
    if (on_missing_ == OnMissing::kError || column.role == CsvColumn::Role::kTarget)
      throw InvalidInput(fmt::format("{}, column '{}': the value is missing ('{}')", rows.where(i),
                                     column.name, cells[i]));
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].role == CsvColumn::Role::kFeature)
      encode_feature(columns_[i], cells[i], table.x);
    if (columns_[i].role == CsvColumn::Role::kTarget)
      encode_target(columns_[i], cells[i], rows.where(i), table);
  }
  ++table.rows;
  return true;
}

void TableEncoder::encode_feature(const CsvColumn& column, const std::string& cell,
                                  std::vector<float>& x) const {
  const bool missing = is_missing(cell);
  if (column.numeric) {
    x.push_back(missing ? kMissing : static_cast<float>(number_in(cell).value_or(0)));
    return;
  }
  for (const std::string& value : column.values)
    x.push_back(missing ? kMissing : (cell == value ? 1.0f : 0.0f));
}

void TableEncoder::encode_target(const CsvColumn& column, const std::string& cell,
                                 const std::string& where, Table& table) const {
  if (kind_ == CsvKind::kRegression) {
    table.values.push_back(static_cast<float>(number_in(cell).value_or(0)));
    return;
  }
  const auto count = static_cast<double>(kind_ == CsvKind::kBinary ? 2 : class_names_.size());
  const bool zero_one = kind_ == CsvKind::kBinary && column.numeric;
  double label = 0;
  if (named_labels_ || zero_one) {
    label = number_in(cell).value_or(-1);
    if (label < 0 || label >= count || label != std::floor(label))
      throw InvalidInput(fmt::format("{}, column '{}': expected a label from 0 to {}, found '{}'",
                                     where, column.name, count - 1, cell));
  } else {
    label = static_cast<double>(std::find(column.values.begin(), column.values.end(), cell) -
                                column.values.begin());
    if (label >= count)
      throw InvalidInput(
          fmt::format("{}, column '{}': expected one of two values ('{}', '{}'), found '{}'", where,
                      column.name, column.values[0], column.values[1], cell));
  }
  if (kind_ == CsvKind::kBinary)
    table.values.push_back(static_cast<float>(label));
  else
    table.labels.push_back(static_cast<std::int64_t>(label));
}

Table TableEncoder::encode(const CsvText& text, std::int64_t& dropped) {
  Table table;
  CsvRows rows(text, options_);
  for (std::vector<std::string> cells; rows.next(cells);)
    if (!encode_row(cells, rows, table)) ++dropped;
  if (table.rows == 0) throw InvalidInput(fmt::format("{}: the table has no rows", text.name));
  return table;
}

DatasetHeader TableEncoder::header() const {
  DatasetHeader header;
  header.target = kind_ == CsvKind::kClassification ? TargetKind::kClass : TargetKind::kValues;
  header.binary = kind_ == CsvKind::kBinary;
  header.class_names = class_names_;
  header.feature_names = feature_names_;
  if (header.target == TargetKind::kValues) header.target_names = target_names_;
  return header;
}

// Which rows are for testing: those with the least random numbers, so that their count is exact.
std::vector<bool> choose_test_rows(std::int64_t rows, double share, std::int64_t seed) {
  const auto test = static_cast<std::size_t>(std::llround(static_cast<double>(rows) * share));
  std::vector<std::pair<std::uint64_t, std::int64_t>> order;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto id = static_cast<std::uint64_t>(row);
    const auto word = philox(static_cast<std::uint64_t>(seed),
                             {static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(id >> 32),
                              0, static_cast<std::uint32_t>(RandomStream::kSplit) << 8});
    order.emplace_back(std::uint64_t{word[1]} << 32 | word[0], row);
  }
  std::sort(order.begin(), order.end());
  std::vector<bool> chosen(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < test; ++i) chosen[static_cast<std::size_t>(order[i].second)] = true;
  return chosen;
}

template <class T>
std::vector<T> pick(const std::vector<T>& all, const std::vector<bool>& chosen, bool wanted) {
  const std::size_t width = all.size() / chosen.size();
  std::vector<T> picked;
  for (std::size_t row = 0; row < chosen.size(); ++row)
    if (chosen[row] == wanted)
      picked.insert(picked.end(), all.begin() + static_cast<std::ptrdiff_t>(row * width),
                    all.begin() + static_cast<std::ptrdiff_t>((row + 1) * width));
  return picked;
}

Table pick(const Table& all, const std::vector<bool>& chosen, bool wanted) {
  return {pick(all.x, chosen, wanted), pick(all.labels, chosen, wanted),
          pick(all.values, chosen, wanted), std::count(chosen.begin(), chosen.end(), wanted)};
}

std::vector<Moments> column_moments(const std::vector<float>& values, std::int64_t columns) {
  std::vector<Moments> all;
  for (std::int64_t c = 0; c < columns; ++c) {
    std::vector<float> column;
    for (std::size_t i = static_cast<std::size_t>(c); i < values.size();
         i += static_cast<std::size_t>(columns))
      if (!std::isnan(values[i])) column.push_back(values[i]);
    all.push_back(moments(column));
  }
  return all;
}

void fill_missing(std::vector<float>& x, const std::vector<Moments>& means) {
  for (std::size_t i = 0; i < x.size(); ++i)
    if (std::isnan(x[i])) x[i] = static_cast<float>(means[i % means.size()].mean);
}

void add_statistics(const Table& train, std::int64_t features, DatasetHeader& header) {
  for (const Moments& m : column_moments(train.x, features)) {
    header.mean.push_back(m.mean);
    header.std.push_back(m.std);
  }
  if (header.target == TargetKind::kClass) return;
  for (const Moments& m :
       column_moments(train.values, static_cast<std::int64_t>(header.target_names.size()))) {
    header.target_mean.push_back(header.binary ? 0.0
                                               : m.mean);  // 0 and 1 stay 0 and 1 when normalised
    header.target_std.push_back(header.binary ? 1.0 : m.std);
  }
}

std::map<std::string, Table> make_splits(const std::vector<CsvText>& texts, TableEncoder& encoder,
                                         const ImportOptions& options, std::int64_t& dropped) {
  std::map<std::string, Table> splits;
  Table first = encoder.encode(texts.front(), dropped);
  if (texts.size() > 1) {
    splits[schema::kTrain] = std::move(first);
    splits[schema::kTest] = encoder.encode(texts.back(), dropped);
    return splits;
  }
  const auto test = choose_test_rows(first.rows, options.test_share, options.seed);
  splits[schema::kTrain] = pick(first, test, false);
  if (std::find(test.begin(), test.end(), true) != test.end())
    splits[schema::kTest] = pick(first, test, true);
  return splits;
}

std::vector<CsvText> load_texts(const ImportOptions& options) {
  if (!options.csv_test_file.empty() && !options.csv_target_file.empty())
    throw ConfigError("csv-test-file: cannot be combined with csv-target-file");
  std::vector<CsvText> texts{load_csv(options.input, options.csv_target_file)};
  if (!options.csv_test_file.empty()) texts.push_back(load_csv(options.csv_test_file, ""));
  return texts;
}

}  // namespace

std::vector<std::string> csv_files(const ImportOptions& options) {
  std::vector<std::string> files;
  for (const std::string& file : {options.input, options.csv_target_file, options.csv_test_file}) {
    if (file.empty()) continue;
    if (!std::filesystem::is_regular_file(file))
      throw IoError(fmt::format("{}: there is no such file", file));
    files.push_back(file);
  }
  return files;
}

void import_csv(const ImportOptions& options, const ImportSource& source, ImportReport& report) {
  const std::vector<CsvText> texts = load_texts(options);
  const auto class_names = options.class_names.empty()
                               ? CsvRows(texts.front(), options).class_names()
                               : options.class_names;
  TableEncoder encoder(describe_columns(texts, options), options, class_names);
  auto splits = make_splits(texts, encoder, options, report.dropped_rows);
  const auto means = column_moments(splits[schema::kTrain].x, encoder.features());
  for (auto& [name, table] : splits) fill_missing(table.x, means);

  DatasetHeader header = encoder.header();
  add_statistics(splits[schema::kTrain], encoder.features(), header);
  header.source = source.description;
  header.source_sha256 = source.sha256;
  DatasetWriter writer(options.output, SampleKind::kTable, {encoder.features()}, options.deflate);
  std::map<std::string, Targets> targets;
  for (auto& [name, table] : splits) {
    writer.append(name, std::as_bytes(std::span(table.x)));
    targets[name] = {std::move(table.labels), std::move(table.values)};
  }
  writer.finish(header, targets);
}

}  // namespace phalanx
