// SPDX-License-Identifier: Apache-2.0
// Reading the JSON bodies of requests, whose lists of numbers may be long: for sources of protocols, which include simdjson.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace phalanx {

inline constexpr std::size_t kDeepestList = 16;  // lists within lists

/// Numbers of nested lists, row-major, and the sizes of the lists from outside inwards; of a single number: no sizes.
struct NumberList {
  std::vector<float> values;
  std::vector<std::int64_t> sizes;
};

/// Throws    Refusal 400 naming `what` if a list is empty or ragged, an element is no number or not finite as f32, or there are
///           more than `most_values`.
NumberList read_numbers(simdjson::ondemand::value value, std::string_view what,
                        std::size_t most_values);

/// A body with room behind it, as simdjson reads it.
class JsonBody {
 public:
  /// Throws    Refusal 400 if the body is no JSON object.
  explicit JsonBody(std::string_view body);

  simdjson::ondemand::object& root() noexcept { return root_; }
  /// Throws    Refusal 400 if something stands behind the object.
  void check_end();

 private:
  simdjson::padded_string text_;
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
  simdjson::ondemand::object root_;
};

/// Calls `use` with a result of simdjson; its errors become  Refusal 400 "what: ...".
[[noreturn]] void refuse_json(std::string_view what, simdjson::error_code error);

template <class T>
T json_value(simdjson::simdjson_result<T> result, std::string_view what) {
  T value;
  if (const auto error = std::move(result).get(value)) refuse_json(what, error);
  return value;
}

}  // namespace phalanx
