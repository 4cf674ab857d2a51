// SPDX-License-Identifier: Apache-2.0
#include "serve/json_request.hpp"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
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
  /// `text`: one list, with eight more bytes that may be read behind it.
  static std::optional<NumberList> read(std::string_view text, std::size_t most_values) {
    IntegerLists lists(text, most_values);
    if (!lists.read_all()) return std::nullopt;
    return std::move(lists.to_);
  }

 private:
  IntegerLists(std::string_view text, std::size_t most_values)
      : at_(text.data()), end_(text.data() + text.size()), most_values_(most_values) {}

  static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

  bool read_all() {
    bool wants_value = true;
    while (at_ < end_) {
      if (is_space(*at_)) {
        ++at_;
      } else if (wants_value && *at_ == '[') {
        if (!open()) return false;
        ++at_;
      } else if (wants_value) {
        if (!read_numbers()) return false;
        wants_value = false;
      } else if (*at_ == ',' && depth_ > 0) {
        wants_value = true;
        ++at_;
      } else {
        if (*at_ != ']' || !close()) return false;
        ++at_;
      }
    }
    return depth_ == 0 && !wants_value;
  }

  bool open() {
    if (depth_ == kDeepest || (leaf_depth_ > 0 && depth_ == leaf_depth_)) return false;
    counts_[depth_++] = 0;
    return true;
  }

  /// Numbers with commas between them; leaves `at_` behind the last.
  bool read_numbers() {
    constexpr int kMostDigits = 7;  // exact in f32
    if (depth_ == 0) return false;
    if (leaf_depth_ == 0) leaf_depth_ = depth_;
    if (leaf_depth_ != depth_) return false;
    const char* at = at_;
    for (;;) {
      std::uint64_t text = 0;
      std::memcpy(&text, at, sizeof text);
      const int digits = leading_digits(text);
      if (digits == 0 || digits > kMostDigits || (digits > 1 && *at == '0')) return false;
      if (to_.values.size() == most_values_) return false;
      to_.values.push_back(static_cast<float>(number_of(text, digits)));
      ++counts_[depth_ - 1];
      at += digits;
      if (*at != ',') break;
      for (++at; is_space(*at);) ++at;
    }
    at_ = at;
    return true;
  }

  // Eight characters at once, the first in the lowest byte: how many digits a number has is not foreseen by a processor, and
  // would cost it more than all the rest.
  static_assert(std::endian::native == std::endian::little);
  static int leading_digits(std::uint64_t text) {
    constexpr std::uint64_t kHigh = 0xf0f0f0f0f0f0f0f0, kZeros = 0x3030303030303030,
                            kSix = 0x0606060606060606;
    const std::uint64_t others = ((text & kHigh) ^ kZeros) | (((text + kSix) & kHigh) ^ kZeros);
    return others == 0 ? 8 : std::countr_zero(others) / 8;
  }
  /// Of 1 to 7 digits. Pairs, then fours, then all: the last digit comes to lie in the highest byte, zeros below the first.
  static std::uint32_t number_of(std::uint64_t text, int digits) {
    std::uint64_t n = (text & 0x0f0f0f0f0f0f0f0f) << (64 - 8 * digits);
    n = (n * 10 + (n >> 8)) & 0x00ff00ff00ff00ff;
    n = (n * 100 + (n >> 16)) & 0x0000ffff0000ffff;
    return static_cast<std::uint32_t>(n * 10000 + (n >> 32));
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
