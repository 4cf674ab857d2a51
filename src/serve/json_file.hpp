// SPDX-License-Identifier: Apache-2.0
// Reading JSON files of the server: for its sources, which include nlohmann's header.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace phalanx {

using Json = nlohmann::ordered_json;

/// Throws    InvalidInput naming the source if the text is no JSON, nested deeper than anything that is read here, or has a
///           member twice.
Json parse_json_file(const std::string& text, const std::string& source);

/// Members of one JSON object, with messages that name them.
class Members {
 public:
  Members(const Json& object, std::string source, std::string path)
      : object_(object), source_(std::move(source)), path_(std::move(path)) {
    if (!object.is_object()) refuse("", "an object", object);
  }

  template <class T>
  T get(const char* member, const char* expected) const {
    const Json& value = at(member, expected);
    try {
      return value.get<T>();
    } catch (const Json::exception&) {
      refuse(member, expected, value);
    }
  }
  Members object(const char* member) const {
    return {at(member, "an object"), source_, path_ + "/" + member};
  }
  const Json& at(const char* member, const char* expected) const {
    const auto found = object_.find(member);
    if (found == object_.end())
      throw InvalidInput(
          fmt::format("{}: {}/{} is missing, expected {}", source_, path_, member, expected));
    return *found;
  }
  [[noreturn]] void refuse(const char* member, const std::string& expected,
                           const Json& found) const {
    constexpr std::size_t kLongest = 60;
    std::string text = found.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
    throw InvalidInput(
        fmt::format("{}: {}/{} must be {}, found {}", source_, path_, member, expected, text));
  }
  std::int64_t integer(const char* member, std::int64_t least) const {
    const std::string expected = fmt::format("an integer >= {}", least);
    const Json& value = at(member, expected.c_str());
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX) &&
                      value.get<std::int64_t>() >= least;
    if (!fits) refuse(member, expected, value);
    return value.get<std::int64_t>();
  }
  std::vector<float> floats(const char* member, std::size_t count) const {
    const std::string expected = fmt::format("{} finite numbers", count);
    const Json& value = at(member, expected.c_str());
    const bool fits =
        value.is_array() && value.size() == count && std::ranges::all_of(value, [](const Json& v) {
          return v.is_number() && std::isfinite(v.get<float>());
        });
    if (!fits) refuse(member, expected, value);
    return value.get<std::vector<float>>();
  }

 private:
  const Json& object_;
  std::string source_, path_;
};

}  // namespace phalanx
