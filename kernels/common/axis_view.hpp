// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/shape.hpp"

namespace phalanx {

/// A tensor seen as [outer, size, inner] around one axis.
struct AxisView {
  std::int64_t outer, size, inner;

  AxisView(const Shape& shape, std::int64_t axis) {
    const int a = shape.normalised_axis(axis);
    outer = shape.product(0, a);
    size = shape[a];
    inner = shape.product(a + 1, shape.rank());
  }
};

}  // namespace phalanx
