// SPDX-License-Identifier: Apache-2.0
#include "core/shape.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace phalanx {

Shape::Shape(std::span<const std::int64_t> sizes) {
  if (sizes.size() > kMaxRank)
    throw InvalidArgument(
        fmt::format("a shape has at most {} axes, found {}", kMaxRank, sizes.size()));
  rank_ = static_cast<int>(sizes.size());
  bool empty = false;
  for (int i = 0; i < rank_; ++i) {
    sizes_[i] = sizes[i];
    if (sizes[i] < 0)
      throw InvalidArgument(fmt::format("axis {} has the negative size {}", i, sizes[i]));
    empty = empty || sizes[i] == 0;
    if (!empty && __builtin_mul_overflow(numel_, sizes[i], &numel_))
      throw InvalidArgument("the element count of a shape does not fit 64 bits");
  }
  if (empty) numel_ = 0;
}

std::int64_t Shape::operator[](int axis) const { return sizes_[normalised_axis(axis)]; }

std::int64_t Shape::product(int first, int last) const {
  std::int64_t p = 1;
  for (int i = first; i < last; ++i) p *= sizes_[i];
  return p;
}

Shape Shape::with(int axis, std::int64_t size) const {
  auto sizes = sizes_;
  sizes[normalised_axis(axis)] = size;
  return Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(rank_)));
}

int Shape::normalised_axis(std::int64_t axis) const {
  const std::int64_t a = axis < 0 ? axis + rank_ : axis;
  if (a < 0 || a >= rank_)
    throw InvalidArgument(fmt::format("axis {} does not exist in shape {}", axis, str()));
  return static_cast<int>(a);
}

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(sizes(), ", ")); }

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  for (int i = 0; i < rank; ++i) {
    const std::int64_t x = i < rank - a.rank() ? 1 : a[i - (rank - a.rank())];
    const std::int64_t y = i < rank - b.rank() ? 1 : b[i - (rank - b.rank())];
    if (x != y && x != 1 && y != 1)
      throw InvalidArgument(fmt::format("shapes {} and {} do not broadcast", a.str(), b.str()));
    sizes[i] = x == 1 ? y : x;
  }
  return Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(rank)));
}

}  // namespace phalanx
