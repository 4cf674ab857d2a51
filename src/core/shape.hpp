// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/error.hpp"

namespace phalanx {

/// Sizes of a tensor's axes, outermost first; rank 0 is a scalar. Holds at most kMaxRank axes, no allocation.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes)
      : Shape(std::span(sizes.begin(), sizes.size())) {}
  /// Throws    InvalidArgument above kMaxRank axes, for a negative size, or if the element count overflows.
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const noexcept { return rank_; }
  /// Size of one axis; a negative axis counts from the end.
  /// Throws    InvalidArgument if there is no such axis.
  std::int64_t operator[](int axis) const;
  std::int64_t numel() const noexcept { return numel_; }
  std::span<const std::int64_t> sizes() const noexcept {
    return {sizes_.data(), static_cast<std::size_t>(rank_)};
  }

  /// Product of the sizes of the axes [first, last).
  std::int64_t product(int first, int last) const;
  /// A copy with one axis resized.
  Shape with(int axis, std::int64_t size) const;
  /// `axis` as 0 ... rank-1.
  /// Throws    InvalidArgument if there is no such axis.
  int normalised_axis(std::int64_t axis) const;

  /// "[64, 3, 32, 32]"
  std::string str() const;

  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    return a.rank_ == b.rank_ && a.sizes_ == b.sizes_;
  }

 private:
  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
  std::int64_t numel_ = 1;
};

/// NumPy broadcasting of two shapes: axes align at the end, a size of 1 stretches.
/// Throws    InvalidArgument if they do not fit, naming both.
/// Source    ONNX, Broadcasting.md, multidirectional.
Shape broadcast(const Shape& a, const Shape& b);

}  // namespace phalanx
