// SPDX-License-Identifier: Apache-2.0
#include "serve/json_answer.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "serve/http.hpp"

namespace phalanx {

void append_json_text(std::string& to, std::string_view text) {
  const bool is_plain = std::ranges::all_of(
      text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (!is_plain) {
    to += json_text(text);
    return;
  }
  to += '"';
  to += text;
  to += '"';
}

void append_json_number(std::string& to, float value) {
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  to.append(digits.data(), end);
}

void append_json_numbers(std::string& to, std::span<const float> values) {
  to += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) to += ',';
    append_json_number(to, values[i]);
  }
  to += ']';
}

}  // namespace phalanx
