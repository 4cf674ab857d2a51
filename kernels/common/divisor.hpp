// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace phalanx {

/// A size, 1 or more, by which kernels divide places to find coordinates: for places below 2^31 a multiplication and a shift,
/// which cost a GPU a small part of a division; a few more for others. constexpr functions are functions of the device too.
/// Source    Granlund, Montgomery: Division by invariant integers using multiplication. PLDI 1994, section 4.
class Divisor {
 public:
  constexpr Divisor() noexcept = default;
  constexpr explicit Divisor(std::int64_t size) noexcept
      : size_(static_cast<std::uint64_t>(size)), inverse_(~std::uint64_t{0} / size_) {
    if (size_ >> 31 != 0) {  // above every place below 2^31
      multiplier_ = 0;
      return;
    }
    // m = floor(2^(31+s) / d) + 1 with d <= 2^s: for n < 2^31, n m / 2^(31+s) exceeds n / d by less than 1 / d.
    std::uint32_t s = 0;
    while ((std::uint64_t{1} << s) < size_) ++s;
    shift_ = 31 + s;
    multiplier_ = static_cast<std::uint32_t>((std::uint64_t{1} << shift_) / size_ + 1);
  }

  constexpr std::uint64_t size() const noexcept { return size_; }
  constexpr std::uint64_t quotient(std::uint64_t place) const noexcept {
    if (place >> 31 == 0) return (place * multiplier_) >> shift_;
    // The inverse is less than 1 / size by 2^-64 at most, so that this may be one too small.
    const auto q = static_cast<std::uint64_t>(static_cast<Wide>(place) * inverse_ >> 64);
    return place - q * size_ < size_ ? q : q + 1;
  }
  /// Leaves the quotient in `place`. Sizes up to 2^32.
  /// Returns the remainder.
  constexpr std::uint32_t take(std::uint64_t& place) const noexcept {
    const std::uint64_t q = quotient(place);
    const auto rest = static_cast<std::uint32_t>(place - q * size_);
    place = q;
    return rest;
  }

 private:
  using Wide = unsigned __int128;

  std::uint64_t size_ = 1;
  std::uint64_t inverse_ = ~std::uint64_t{0};  // 2^64 / size, rounded down
  std::uint32_t multiplier_ = 0x80000001u;
  std::uint32_t shift_ = 31;
};

}  // namespace phalanx
