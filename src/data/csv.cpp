// SPDX-License-Identifier: Apache-2.0
#include "data/csv.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {

CsvReader::CsvReader(std::string_view text, std::string name, char delimiter)
    : text_(text), name_(std::move(name)), delimiter_(delimiter) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
}

bool CsvReader::at_line_end() const noexcept {
  return at_ == text_.size() || text_[at_] == '\n' ||
         (text_[at_] == '\r' && text_.substr(at_, 2) == "\r\n");
}

void CsvReader::end_line() noexcept {
  if (at_ == text_.size()) return;
  at_ += text_[at_] == '\r' ? 2 : 1;
  ++next_line_;
}

void CsvReader::read_plain(std::string& cell) {
  const std::size_t begin = at_;
  while (!at_line_end() && text_[at_] != delimiter_) ++at_;
  cell = trim(text_.substr(begin, at_ - begin));
}

void CsvReader::read_quoted(std::string& cell) {
  cell.clear();
  for (++at_;; ++at_) {
    if (at_ == text_.size())
      throw InvalidInput(fmt::format("{} line {}: a quoted cell is not closed", name_, line_));
    if (text_[at_] == '\n') ++next_line_;
    if (text_[at_] != '"') {
      cell += text_[at_];
    } else if (text_.substr(at_, 2) == "\"\"") {
      cell += text_[at_++];
    } else {
      break;
    }
  }
  ++at_;
  if (!at_line_end() && text_[at_] != delimiter_)
    throw InvalidInput(fmt::format("{} line {}: text behind a closing quote", name_, next_line_));
}

bool CsvReader::next_words(std::vector<std::string>& cells) {
  while (at_ < text_.size()) {
    line_ = next_line_;
    const std::size_t begin = at_;
    while (!at_line_end()) ++at_;
    const auto words = split_words(text_.substr(begin, at_ - begin));
    end_line();
    if (words.empty()) continue;
    cells.assign(words.begin(), words.end());
    return true;
  }
  return false;
}

bool CsvReader::next(std::vector<std::string>& cells) {
  if (delimiter_ == ' ') return next_words(cells);
  while (at_ < text_.size() && at_line_end()) end_line();
  if (at_ == text_.size()) return false;
  line_ = next_line_;
  std::size_t count = 0;
  for (bool more = true; more; ++count) {
    if (count == cells.size()) cells.emplace_back();
    if (at_ < text_.size() && text_[at_] == '"')
      read_quoted(cells[count]);
    else
      read_plain(cells[count]);
    more = !at_line_end();
    if (more) ++at_;  // the delimiter
  }
  cells.resize(count);
  end_line();
  return true;
}

std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& name,
                                                char delimiter) {
  CsvReader reader(text, name, delimiter);
  std::vector<std::vector<std::string>> records;
  for (std::vector<std::string> cells; reader.next(cells);) records.push_back(cells);
  return records;
}

}  // namespace phalanx
