// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "data/csv.hpp"
#include "data/import.hpp"

namespace phalanx {

/// A column of a CSV table and what its cells turned out to be.
struct CsvColumn {
  enum class Role : std::uint8_t { kFeature, kTarget, kIgnored };
  std::string name;
  Role role = Role::kFeature;
  bool numeric = true;            ///< every cell that is not missing is a number
  std::string first_text{};       ///< the first cell that is none
  std::string first_text_line{};  ///< "<file> line <n>" of that cell
  std::vector<std::string>
      values{};  ///< distinct cells, by value if all are numbers, else in alphabetical order
  std::set<std::string> seen{};  ///< while the table is read for the first time
};

/// The text of one table: a file, and perhaps a second one with the targets of the same rows.
struct CsvText {
  std::string name;
  std::string text;
  std::string target_name;  ///< empty: no second file
  std::string target_text;
};

/// Throws    IoError, InvalidInput (a damaged packed file).
CsvText load_csv(const std::string& file, const std::string& target_file);

/// Goes through the records of a table, the cells of the second file behind those of the first.
/// Header lines are taken off.
class CsvRows {
 public:
  CsvRows(const CsvText& text, const ImportOptions& options);

  /// Throws    InvalidInput naming file and line if a record has too few or too many cells, or one
  /// file more records.
  bool next(std::vector<std::string>& cells);
  /// "<file> line <n>" of the cell of the last record.
  std::string where(std::size_t column) const;

  const std::vector<std::string>& column_names() const noexcept { return names_; }
  std::size_t data_columns() const noexcept { return data_columns_; }
  const std::vector<std::string>& class_names() const noexcept {
    return class_names_;
  }  ///< of a sklearn header

 private:
  bool next_of(CsvReader& reader, std::optional<std::vector<std::string>>& waiting,
               std::size_t count, std::vector<std::string>& cells);

  CsvReader data_;
  std::optional<CsvReader> target_;
  bool sklearn_ = false;
  std::int64_t promised_rows_ = -1;  // by a sklearn header
  std::int64_t rows_ = 0;
  std::vector<std::string> names_, class_names_;
  std::size_t data_columns_ = 0;
  std::optional<std::vector<std::string>> waiting_data_,
      waiting_target_;  // a first record read for its width
  std::vector<std::string> target_cells_;
};

/// "", NA, N/A, NaN, null and ? in any case.
bool is_missing(std::string_view cell);
/// Like core/text.hpp, with a leading + allowed; empty if the cell is no finite number.
std::optional<double> number_in(std::string_view cell);

/// Finds the columns named in the options and what each holds, over all of `texts`.
/// Throws    ConfigError for a column that is not there; InvalidInput for text where numbers are
/// expected.
std::vector<CsvColumn> describe_columns(const std::vector<CsvText>& texts,
                                        const ImportOptions& options);

}  // namespace phalanx
