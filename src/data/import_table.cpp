// SPDX-License-Identifier: Apache-2.0
#include "data/import_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/import_bytes.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kMostTextBytes = std::size_t{1} << 36;
constexpr std::size_t kMostValues = 10000;

std::string load_text(const std::string& file) {
  const auto bytes = read_all(*open_bytes(file), kMostTextBytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

char delimiter_of(const ImportOptions& options) {
  if (options.csv_delimiter == "tab" || options.csv_delimiter == "\\t") return '\t';
  if (options.csv_delimiter.size() != 1)
    throw ConfigError(fmt::format("csv-delimiter: expected one character or 'tab', found '{}'",
                                  options.csv_delimiter));
  return options.csv_delimiter.front();
}

// A column by name, or by number from 0, or from the end if negative.
std::size_t find_column(const std::string& wanted, const std::vector<std::string>& names,
                        const char* option) {
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const auto count = static_cast<std::int64_t>(names.size());
  if (const auto value = number_in(wanted); value && *value == std::floor(*value)) {
    const auto index = static_cast<std::int64_t>(*value) + (*value < 0 ? count : 0);
    if (index >= 0 && index < count) return static_cast<std::size_t>(index);
  }
  throw ConfigError(
      fmt::format("{}: there is no column '{}' among {} columns; the nearest name is '{}'", option,
                  wanted, count, nearest(wanted, names)));
}

void assign_roles(std::vector<CsvColumn>& columns, const CsvRows& rows,
                  const ImportOptions& options) {
  for (const std::string& name : options.csv_ignore)
    columns[find_column(name, rows.column_names(), "csv-ignore")].role = CsvColumn::Role::kIgnored;
  for (const std::string& name : options.csv_target)
    columns[find_column(name, rows.column_names(), "csv-target")].role = CsvColumn::Role::kTarget;
  for (std::size_t i = rows.data_columns(); i < columns.size(); ++i)
    columns[i].role = CsvColumn::Role::kTarget;
  const bool has_target = std::any_of(columns.begin(), columns.end(), [](const CsvColumn& c) {
    return c.role == CsvColumn::Role::kTarget;
  });
  if (!has_target) columns.back().role = CsvColumn::Role::kTarget;
}

void look_at(CsvColumn& column, const std::string& cell, const CsvRows& rows, std::size_t index) {
  if (column.role == CsvColumn::Role::kIgnored || is_missing(cell)) return;
  if (column.numeric && !number_in(cell)) {
    column.numeric = false;
    column.first_text = cell;
    column.first_text_line = rows.where(index);
  }
  if (column.seen.size() <= kMostValues) column.seen.insert(cell);
}

void sort_values(CsvColumn& column) {
  column.values.assign(column.seen.begin(), column.seen.end());
  column.seen.clear();
  if (column.numeric)
    std::stable_sort(column.values.begin(), column.values.end(),
                     [](const std::string& a, const std::string& b) {
                       return number_in(a).value_or(0) < number_in(b).value_or(0);
                     });
}

void check_column(const CsvColumn& column, const ImportOptions& options) {
  const bool target = column.role == CsvColumn::Role::kTarget;
  const bool must_be_number =
      target ? options.csv_kind == "regression" : options.csv_text == "error";
  if (!column.numeric && must_be_number)
    throw InvalidInput(fmt::format("{}, column '{}': expected a number, found '{}'",
                                   column.first_text_line, column.name, column.first_text));
  if (!column.numeric && column.values.size() > kMostValues)
    throw InvalidInput(fmt::format(
        "{}, column '{}': more than {} different texts; is it a number or a name to ignore?",
        column.first_text_line, column.name, kMostValues));
}

}  // namespace

bool is_missing(std::string_view cell) {
  std::string lower(cell);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return lower.empty() || lower == "na" || lower == "n/a" || lower == "nan" || lower == "null" ||
         lower == "?";
}

std::optional<double> number_in(std::string_view cell) {
  if (cell.size() > 1 && cell[0] == '+' && cell[1] != '-') cell.remove_prefix(1);
  try {
    const double value = parse_double(cell);
    if (std::abs(value) <= std::numeric_limits<float>::max()) return value;
  } catch (const InvalidInput&) {
  }
  return std::nullopt;
}

CsvText load_csv(const std::string& file, const std::string& target_file) {
  CsvText text{file, load_text(file), target_file, {}};
  if (!target_file.empty()) text.target_text = load_text(target_file);
  return text;
}

CsvRows::CsvRows(const CsvText& text, const ImportOptions& options)
    : data_(text.text, text.name, delimiter_of(options)) {
  sklearn_ = options.csv_header == "sklearn";
  if (!sklearn_ && options.csv_header != "names" && options.csv_header != "none")
    throw ConfigError(
        fmt::format("csv-header: expected names, none or sklearn, found '{}'", options.csv_header));
  std::vector<std::string> record;
  const auto start = [&](CsvReader& reader, std::optional<std::vector<std::string>>& waiting,
                         const char* prefix) {
    if (!reader.next(record))
      throw InvalidInput(fmt::format("{}: the table is empty", reader.name()));
    if (options.csv_header == "names") {
      names_.insert(names_.end(), record.begin(), record.end());
      return;
    }
    if (sklearn_ && &reader == &data_) {
      if (record.size() < 2 || !number_in(record[0]) || !number_in(record[1]))
        throw InvalidInput(
            fmt::format("{} line 1: expected rows,features,class,class,...", reader.name()));
      promised_rows_ = static_cast<std::int64_t>(*number_in(record[0]));
      class_names_.assign(record.begin() + 2, record.end());
      if (!reader.next(record))
        throw InvalidInput(fmt::format("{}: the table has no rows", reader.name()));
    }
    for (std::size_t i = 0; i < record.size(); ++i)
      names_.push_back(fmt::format("{}{}", prefix, i));
    waiting = record;
  };
  start(data_, waiting_data_, "");
  data_columns_ = names_.size();
  if (text.target_name.empty()) return;
  target_.emplace(text.target_text, text.target_name, delimiter_of(options));
  start(*target_, waiting_target_, "target");
}

bool CsvRows::next_of(CsvReader& reader, std::optional<std::vector<std::string>>& waiting,
                      std::size_t count, std::vector<std::string>& cells) {
  if (waiting) {
    cells = std::move(*waiting);
    waiting.reset();
  } else if (!reader.next(cells)) {
    return false;
  }
  if (cells.size() != count)
    throw InvalidInput(fmt::format("{} line {}: expected {} cells, found {}", reader.name(),
                                   reader.line(), count, cells.size()));
  return true;
}

bool CsvRows::next(std::vector<std::string>& cells) {
  const bool more = next_of(data_, waiting_data_, data_columns_, cells);
  if (target_) {
    if (next_of(*target_, waiting_target_, names_.size() - data_columns_, target_cells_) != more)
      throw InvalidInput(fmt::format("{} and {} have different numbers of rows: one ends after {}",
                                     data_.name(), target_->name(), rows_));
    if (more) cells.insert(cells.end(), target_cells_.begin(), target_cells_.end());
  }
  if (!more && promised_rows_ >= 0 && rows_ != promised_rows_)
    throw InvalidInput(fmt::format("{} line 1: {} rows promised, but {} found", data_.name(),
                                   promised_rows_, rows_));
  rows_ += more ? 1 : 0;
  return more;
}

std::string CsvRows::where(std::size_t column) const {
  const CsvReader& reader = column < data_columns_ || !target_ ? data_ : *target_;
  return fmt::format("{} line {}", reader.name(), reader.line());
}

std::vector<CsvColumn> describe_columns(const std::vector<CsvText>& texts,
                                        const ImportOptions& options) {
  std::vector<CsvColumn> columns;
  std::vector<std::string> first_names;
  for (const CsvText& text : texts) {
    CsvRows rows(text, options);
    if (columns.empty()) {
      first_names = rows.column_names();
      for (const std::string& name : first_names) columns.push_back({.name = name});
      assign_roles(columns, rows, options);
    } else if (rows.column_names() != first_names) {
      throw InvalidInput(fmt::format("{}: other columns than {}", text.name, texts.front().name));
    }
    for (std::vector<std::string> cells; rows.next(cells);)
      for (std::size_t i = 0; i < columns.size(); ++i) look_at(columns[i], cells[i], rows, i);
  }
  for (CsvColumn& column : columns) {
    sort_values(column);
    check_column(column, options);
  }
  return columns;
}

}  // namespace phalanx
