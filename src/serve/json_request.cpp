// SPDX-License-Identifier: Apache-2.0
#include "serve/json_request.hpp"

#include <fmt/format.h>

#include <cmath>

#include "serve/inference.hpp"
#include "serve/integer_lists.hpp"

namespace phalanx {
namespace {

namespace sj = simdjson::ondemand;

class NumberReader {
 public:
  NumberReader(NumberList& to, std::string_view what, std::size_t most_values)
      : to_(to), what_(what), most_values_(most_values) {}

  void read(sj::value value, std::size_t depth) {
    const sj::json_type type = json_value(value.type(), what_);
    if (type == sj::json_type::array) return read_list(json_value(value.get_array(), what_), depth);
    if (type != sj::json_type::number)
      throw Refusal(400, fmt::format("{}: expected numbers in lists", what_));
    const auto number = static_cast<float>(json_value(value.get_double(), what_));
    if (!std::isfinite(number))
      throw Refusal(400,
                    fmt::format("{}: value {} does not fit into f32", what_, to_.values.size()));
    append(number, depth);
  }

  void read_list(sj::array list, std::size_t depth) {
    if (depth == kDeepestList)
      throw Refusal(400, fmt::format("{}: lists are nested deeper than {}", what_, kDeepestList));
    std::int64_t count = 0;
    for (auto element : list) {
      read(json_value(std::move(element), what_), depth + 1);
      ++count;
    }
    if (count == 0) throw Refusal(400, fmt::format("{}: a list is empty", what_));
    if (sizes_.size() <= depth) sizes_.resize(depth + 1, 0);
    if (sizes_[depth] != 0 && sizes_[depth] != count) refuse_ragged();
    sizes_[depth] = count;
    to_.sizes = sizes_;
  }

 private:
  void append(float number, std::size_t depth) {
    if (is_leaf_depth_known_ && depth != leaf_depth_) refuse_ragged();
    is_leaf_depth_known_ = true;
    leaf_depth_ = depth;
    if (to_.values.size() == most_values_)
      throw Refusal(400, fmt::format("{}: has more than {} values", what_, most_values_));
    to_.values.push_back(number);
  }

  [[noreturn]] void refuse_ragged() const {
    throw Refusal(400, fmt::format("{}: its lists have different lengths", what_));
  }

  NumberList& to_;
  std::string_view what_;
  std::size_t most_values_;
  std::vector<std::int64_t> sizes_;
  std::size_t leaf_depth_ = 0;
  bool is_leaf_depth_known_ = false;
};

}  // namespace

void refuse_json(std::string_view what, simdjson::error_code error) {
  switch (error) {
    case simdjson::NO_SUCH_FIELD: throw Refusal(400, fmt::format("'{}' is missing", what));
    case simdjson::INCORRECT_TYPE: throw Refusal(400, fmt::format("{}: is of another type", what));
    case simdjson::NUMBER_OUT_OF_RANGE:
    case simdjson::NUMBER_ERROR: throw Refusal(400, fmt::format("{}: a number is malformed", what));
    default:
      throw Refusal(
          400, fmt::format("{}: the body is no JSON: {}", what, simdjson::error_message(error)));
  }
}

NumberList read_numbers(sj::value value, std::string_view what, std::size_t most_values) {
  NumberList list;
  if (json_value(value.type(), what) == sj::json_type::array) {
    sj::array outermost = json_value(value.get_array(), what);
    std::string_view text;
    if (!outermost.raw_json().get(text))
      if (auto integers = read_integer_lists(text, most_values)) return std::move(integers->list);
    json_value(outermost.reset(), what);
    NumberReader(list, what, most_values).read_list(outermost, 0);
  } else {
    NumberReader(list, what, most_values).read(value, 0);
  }
  return list;
}

JsonBody::JsonBody(std::string_view body) : text_(body) {
  document_ = json_value(parser_.iterate(text_), "body");
  root_ = json_value(document_.get_object(), "body");
}

void JsonBody::check_end() {
  const char* rest = nullptr;
  if (!document_.current_location().get(rest))
    throw Refusal(400, "body: something stands behind the JSON object");
}

}  // namespace phalanx
