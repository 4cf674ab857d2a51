// SPDX-License-Identifier: Apache-2.0
#include "cli/config_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr std::string_view kBlank = " \t\r\v\f";
constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20;

struct Escape {
  char letter;
  char meaning;
};
constexpr std::array<Escape, 5> kEscapes = {
    {{'"', '"'}, {'\\', '\\'}, {'n', '\n'}, {'r', '\r'}, {'t', '\t'}}};

bool is_blank(char c) { return kBlank.find(c) != std::string_view::npos; }

bool is_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

std::size_t comment_begin(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] == '#' && (i == 0 || is_blank(text[i - 1]))) return i;
  return text.size();
}

std::string unquote(std::string_view text, std::string_view origin) {
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      const std::string_view rest = text.substr(i + 1);
      if (!trim(rest.substr(0, comment_begin(rest))).empty())
        throw ConfigError(fmt::format("{}: expected nothing after the closing quote, found '{}'",
                                      origin, trim(rest)));
      return value;
    }
    if (text[i] != '\\') {
      value += text[i];
      continue;
    }
    const char letter = ++i < text.size() ? text[i] : ' ';
    const auto* escape = std::find_if(kEscapes.begin(), kEscapes.end(),
                                      [letter](const Escape& e) { return e.letter == letter; });
    if (escape == kEscapes.end())
      throw ConfigError(
          fmt::format("{}: expected one of \\\" \\\\ \\n \\r \\t, found '\\{}'", origin, letter));
    value += escape->meaning;
  }
  throw ConfigError(fmt::format("{}: the quote is not closed: {}", origin, text));
}

std::string parse_value(std::string_view text, std::string_view origin) {
  if (!text.empty() && text.front() == '"') return unquote(text, origin);
  return std::string(trim(text.substr(0, comment_begin(text))));
}

Setting parse_line(std::string_view line, std::string origin) {
  if (line.front() == '[')
    throw ConfigError(
        fmt::format("{}: expected 'key = value', found the section '{}'; keys are unique, group "
                    "them by comments",
                    origin, line));
  const auto equals = line.find('=');
  if (equals == std::string_view::npos || equals > comment_begin(line))
    throw ConfigError(fmt::format("{}: expected 'key = value', found '{}'", origin, line));
  const std::string_view key = trim(line.substr(0, equals));
  if (!is_key(key))
    throw ConfigError(
        fmt::format("{}: expected a key of letters, digits and '-', found '{}'", origin, key));
  std::string value = parse_value(trim(line.substr(equals + 1)), origin);
  return {std::string(key), std::move(value), std::move(origin)};
}

}  // namespace

std::vector<Setting> parse_config_text(std::string_view text, std::string_view name) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark of some editors
  std::vector<Setting> settings;
  int number = 0;
  for (const std::string_view whole : split(text, '\n')) {
    std::string origin = fmt::format("{}:{}", name, ++number);
    if (whole.find('\0') != std::string_view::npos)
      throw ConfigError(fmt::format("{}: expected text, found a NUL byte", origin));
    const std::string_view line = trim(whole);
    if (!line.empty() && line.front() != '#')
      settings.push_back(parse_line(line, std::move(origin)));
  }
  return settings;
}

std::vector<Setting> read_config_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file)
    throw ConfigError(
        fmt::format("cannot open the configuration '{}': {}", path, std::strerror(errno)));
  std::string text;
  std::array<char, 65536> block;
  while (const std::size_t n = std::fread(block.data(), 1, block.size(), file.get())) {
    text.append(block.data(), n);
    if (text.size() > kMaxFileBytes)
      throw ConfigError(fmt::format("{}: expected a configuration of at most {}, found more", path,
                                    human_bytes(kMaxFileBytes)));
  }
  if (std::ferror(file.get()))
    throw ConfigError(
        fmt::format("cannot read the configuration '{}': {}", path, std::strerror(errno)));
  return parse_config_text(text, path);
}

std::string quote_config_value(std::string_view value) {
  const bool plain = !value.empty() && value.front() != '"' && !is_blank(value.front()) &&
                     !is_blank(value.back()) && comment_begin(value) == value.size() &&
                     value.find_first_of("\n\r") == std::string_view::npos;
  if (plain) return std::string(value);
  std::string quoted = "\"";
  for (const char c : value) {
    const auto* escape = std::find_if(kEscapes.begin(), kEscapes.end(),
                                      [c](const Escape& e) { return e.meaning == c; });
    if (escape == kEscapes.end()) {
      quoted += c;
    } else {
      quoted += '\\';
      quoted += escape->letter;
    }
  }
  return quoted + '"';
}

}  // namespace phalanx
