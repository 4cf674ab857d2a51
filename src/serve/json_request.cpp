// SPDX-License-Identifier: Apache-2.0
#include "serve/json_request.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <optional>

#include "serve/inference.hpp"

namespace phalanx {
namespace {

namespace sj = simdjson::ondemand;

constexpr std::size_t kDeepest = 16;  // lists within lists

/// Lists of whole numbers, as pixels come, read in one pass: element by element simdjson takes five times that. Whatever else
/// it meets it leaves to NumberReader, which also says what is wrong.
class IntegerLists {
 public:
  /// `text`: one list.
  static std::optional<NumberList> read(std::string_view text, std::size_t most_values) {
    IntegerLists lists(text, most_values);
    if (!lists.read_all()) return std::nullopt;
    return std::move(lists.to_);
  }

 private:
  IntegerLists(std::string_view text, std::size_t most_values)
      : at_(text.data()), end_(text.data() + text.size()), most_values_(most_values) {}

  bool read_all() {
    bool wants_value = true;
    for (; at_ != end_; ++at_) {
      if (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t') continue;
      if (wants_value) {
        if (*at_ == '[') {
          if (!open()) return false;
        } else {
          if (!read_number()) return false;
          wants_value = false;
        }
      } else if (*at_ == ',' && depth_ > 0) {
        wants_value = true;
      } else if (*at_ != ']' || !close()) {
        return false;
      }
    }
    return depth_ == 0 && !wants_value;
  }

  bool open() {
    if (depth_ == kDeepest || (leaf_depth_ > 0 && depth_ == leaf_depth_)) return false;
    counts_[depth_++] = 0;
    return true;
  }

  /// Leaves `at_` on the last digit.
  bool read_number() {
    constexpr int kMostDigits = 7;  // exact in f32
    const auto is_digit = [&](const char* c) { return c != end_ && *c >= '0' && *c <= '9'; };
    if (depth_ == 0 || !is_digit(at_)) return false;
    if (leaf_depth_ == 0) leaf_depth_ = depth_;
    if (leaf_depth_ != depth_ || to_.values.size() == most_values_) return false;
    const char* first = at_;
    std::int32_t value = *at_ - '0';
    while (is_digit(at_ + 1)) {
      if (++at_ - first == kMostDigits || *first == '0') return false;
      value = 10 * value + (*at_ - '0');
    }
    to_.values.push_back(static_cast<float>(value));
    ++counts_[depth_ - 1];
    return true;
  }

  bool close() {
    if (depth_ == 0) return false;
    --depth_;
    if (to_.sizes.size() <= depth_) to_.sizes.resize(depth_ + 1, 0);
    std::int64_t& size = to_.sizes[depth_];
    if (size != 0 && size != counts_[depth_]) return false;
    size = counts_[depth_];
    if (depth_ > 0) ++counts_[depth_ - 1];
    return true;
  }

  const char *at_, *end_;
  std::size_t most_values_;
  std::array<std::int64_t, kDeepest> counts_{};  // of the lists that are open
  std::size_t depth_ = 0, leaf_depth_ = 0;
  NumberList to_;
};

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
    if (depth == kDeepest)
      throw Refusal(400, fmt::format("{}: lists are nested deeper than {}", what_, kDeepest));
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
      if (auto integers = IntegerLists::read(text, most_values)) return std::move(*integers);
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
