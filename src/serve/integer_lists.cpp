// SPDX-License-Identifier: Apache-2.0
#include "serve/integer_lists.hpp"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

namespace phalanx {
namespace {

constexpr std::size_t kUsualCharacters = 4;  // of a number
constexpr int kMostDigits = 7;               // exact in f32

// A number of 1 to 7 digits from eight characters at once, the first in the lowest byte: how many digits it has is not
// foreseen by a processor, and would cost it more than all the rest.
static_assert(std::endian::native == std::endian::little);

/// Behind the end come zeros.
std::uint64_t eight_characters(const char* at, const char* end) {
  std::uint64_t text = 0;
  if (end - at >= 8) [[likely]]
    std::memcpy(&text, at, sizeof text);
  else
    std::memcpy(&text, at, static_cast<std::size_t>(end - at));
  return text;
}

int leading_digits(std::uint64_t text) {
  constexpr std::uint64_t kHigh = 0xf0f0f0f0f0f0f0f0, kZeros = 0x3030303030303030,
                          kSix = 0x0606060606060606;
  const std::uint64_t others = ((text & kHigh) ^ kZeros) | (((text + kSix) & kHigh) ^ kZeros);
  return others == 0 ? 8 : std::countr_zero(others) / 8;
}

/// The last digit comes to lie in the highest byte, zeros below the first.
std::uint64_t right_aligned(std::uint64_t text, int digits) { return text << (64 - 8 * digits); }

/// Pairs, then fours, then all.
float number_of(std::uint64_t aligned) {
  std::uint64_t n = aligned & 0x0f0f0f0f0f0f0f0f;
  n = (n * 10 + (n >> 8)) & 0x00ff00ff00ff00ff;
  n = (n * 100 + (n >> 16)) & 0x0000ffff0000ffff;
  return static_cast<float>(static_cast<std::int32_t>(n * 10000 + (n >> 32)));
}

/// What 64 characters are, a bit each, the first in the lowest.
struct CharacterBlock {
  static constexpr std::ptrdiff_t kSize = 64;
  std::uint64_t digits = 0, zeros = 0, commas = 0, others = 0;  // others: no spaces either

#ifdef __SSE2__
  static constexpr bool kIsFast = true;
  explicit CharacterBlock(const char* at) {
    constexpr int kWidth = sizeof(__m128i);
    for (int i = 0; i < kSize / kWidth; ++i) {
      const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at) + i);
      const auto are = [&](char c) { return _mm_cmpeq_epi8(text, _mm_set1_epi8(c)); };
      const auto add = [&](__m128i which, std::uint64_t& to) {
        to |= std::uint64_t{static_cast<std::uint16_t>(_mm_movemask_epi8(which))} << (kWidth * i);
      };
      const __m128i value = _mm_sub_epi8(text, _mm_set1_epi8('0'));
      const __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value);
      const __m128i comma = are(',');
      const __m128i space =
          _mm_or_si128(_mm_or_si128(are(' '), are('\n')), _mm_or_si128(are('\r'), are('\t')));
      add(digit, digits);
      add(are('0'), zeros);
      add(comma, commas);
      add(_mm_or_si128(digit, _mm_or_si128(comma, space)), others);
    }
    others = ~others;
  }
#else
  static constexpr bool kIsFast = false;
  explicit CharacterBlock(const char*) {}
#endif
};

class IntegerReader {
 public:
  IntegerReader(std::string_view text, std::size_t most_values)
      : at_(text.data()), end_(text.data() + text.size()), most_values_(most_values) {
    to_.values.reserve(std::min(most_values, text.size() / kUsualCharacters));
  }

  /// Up to the end of the list.
  bool read() {
    bool wants_value = true;
    do {
      skip_space();
      if (at_ == end_) return false;
      if (wants_value && *at_ == '[') {
        if (!open()) return false;
        ++at_;
      } else if (wants_value) {
        if (!read_numbers()) return false;
        wants_value = false;
      } else if (*at_ == ',') {
        wants_value = true;
        ++at_;
      } else {
        if (*at_ != ']' || !close()) return false;
        ++at_;
      }
    } while (depth_ > 0);
    return !wants_value;
  }

  IntegerLists take(std::string_view text) {
    return {std::move(to_), static_cast<std::size_t>(at_ - text.data())};
  }

 private:
  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  bool open() {
    if (depth_ == kDeepestList || (leaf_depth_ > 0 && depth_ == leaf_depth_)) return false;
    counts_[depth_++] = 0;
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

  /// Numbers with commas between them; leaves `at_` behind the last.
  bool read_numbers() {
    if (depth_ == 0) return false;
    if (leaf_depth_ == 0) leaf_depth_ = depth_;
    if (leaf_depth_ != depth_) return false;
    if (CharacterBlock::kIsFast && !are_few()) {
      while (end_ - at_ >= CharacterBlock::kSize) {
        const Block found = read_block();
        if (found == Block::kBad) return false;
        if (found == Block::kEnds) return true;
        if (found == Block::kHasNoComma) break;
      }
      skip_space();
    }
    return read_numbers_singly();
  }

  static constexpr std::size_t kMostNumbers = CharacterBlock::kSize / 2, kAtOnce = 8;
  /// As the lists before this one were: then blocks do not pay.
  bool are_few() const {
    constexpr std::int64_t kFew = 8;
    return to_.sizes.size() >= depth_ && to_.sizes[depth_ - 1] < kFew;
  }

  enum class Block { kGoesOn, kEnds, kHasNoComma, kBad };

  /// Takes the numbers of the next 64 characters: up to where they end (kEnds), else up to the last comma (kGoesOn). What
  /// stands behind it, a number or the beginning of one, is left to the next call.
  Block read_block() {
    const CharacterBlock block(at_);
    const bool ends = block.others != 0;
    if (!ends && block.commas == 0) return Block::kHasNoComma;
    const int size = ends ? std::countr_zero(block.others) : std::bit_width(block.commas);
    const std::uint64_t within = size == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << size) - 1;
    const std::uint64_t digits = block.digits & within, commas = block.commas & within;
    std::uint64_t starts = digits & ~(digits << 1), last = digits & ~(digits >> 1);

    const auto count = static_cast<std::size_t>(std::popcount(starts));

    // Numbers and commas in turn, a number first, and last if this is the end: counted together, numbers are odd.
    std::uint64_t is_odd = starts | commas;
    for (int distance = 1; distance < CharacterBlock::kSize; distance *= 2)
      is_odd ^= is_odd << distance;
    const bool alternate = (starts & ~is_odd) == 0 && (commas & is_odd) == 0 &&
                           std::popcount(starts) == std::popcount(commas) + (ends ? 1 : 0);
    std::uint64_t too_long = digits;
    for (int length = 1; length <= kMostDigits; length *= 2) too_long &= too_long >> length;
    const std::uint64_t leading_zeros = starts & block.zeros & (digits >> 1);
    if (!alternate || too_long != 0 || leading_zeros != 0) return Block::kBad;

    if (count > most_values_ - to_.values.size()) return Block::kBad;
    std::array<std::uint64_t, kMostNumbers> aligned{};
    for (std::size_t i = 0; i < count; ++i) {
      const int first = std::countr_zero(starts), behind = std::countr_zero(last) + 1;
      aligned[i] = right_aligned(eight_characters(at_ + first, end_), behind - first);
      starts &= starts - 1;
      last &= last - 1;
    }
    std::array<float, kMostNumbers> numbers;
    for (std::size_t i = 0; i < count; i += kAtOnce)
      for (std::size_t j = i; j < i + kAtOnce; ++j) numbers[j] = number_of(aligned[j]);
    to_.values.insert(to_.values.end(), numbers.data(), numbers.data() + count);
    counts_[depth_ - 1] += static_cast<std::int64_t>(count);
    at_ += size;
    return ends ? Block::kEnds : Block::kGoesOn;
  }

  bool read_numbers_singly() {
    for (;;) {
      const std::uint64_t text = eight_characters(at_, end_);
      const int digits = leading_digits(text);
      if (digits == 0 || digits > kMostDigits || (digits > 1 && *at_ == '0')) return false;
      if (to_.values.size() == most_values_) return false;
      to_.values.push_back(number_of(right_aligned(text, digits)));
      ++counts_[depth_ - 1];
      at_ += digits;
      if (at_ == end_ || *at_ != ',') return true;
      ++at_;
      skip_space();
    }
  }

  const char *at_, *end_;
  std::size_t most_values_;
  std::array<std::int64_t, kDeepestList> counts_{};  // of the lists that are open
  std::size_t depth_ = 0, leaf_depth_ = 0;
  NumberList to_;
};

}  // namespace

std::optional<IntegerLists> read_integer_lists(std::string_view text, std::size_t most_values) {
  IntegerReader reader(text, most_values);
  if (!reader.read()) return std::nullopt;
  return reader.take(text);
}

}  // namespace phalanx
