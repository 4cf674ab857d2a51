// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace phalanx {

/// Reads the records of a CSV text one by one. Cells may be quoted, with "" for a quote, and then
/// hold delimiters and line ends; LF and CRLF both end a record; empty lines are skipped; blanks
/// around a cell that is not quoted are dropped. With ' ' as the delimiter, runs of blanks separate
/// and there are no quotes.
///
/// Throws    InvalidInput naming `name` and the line for a quote that is not closed, or text behind a closing quote.
/// Source    RFC 4180.
class CsvReader {
 public:
  /// Borrows the text.
  CsvReader(std::string_view text, std::string name, char delimiter);

  /// The next record; false at the end.
  bool next(std::vector<std::string>& cells);
  /// Where the last record began, counted from 1.
  std::int64_t line() const noexcept { return line_; }
  const std::string& name() const noexcept { return name_; }

 private:
  bool next_words(std::vector<std::string>& cells);
  void read_plain(std::string& cell);
  void read_quoted(std::string& cell);
  bool at_line_end() const noexcept;
  void end_line() noexcept;

  std::string_view text_;
  std::string name_;
  char delimiter_;
  std::size_t at_ = 0;
  std::int64_t next_line_ = 1;
  std::int64_t line_ = 0;
};

/// All records of a text.
std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& name,
                                                char delimiter = ',');

}  // namespace phalanx
