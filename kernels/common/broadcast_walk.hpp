// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "tensor/tensor.hpp"

namespace phalanx {

/// How y, a, b and one more tensor t lie over each other, found once when a node is planned. Axes are those of y in memory
/// order (an image's channels count as two, C/B and B), merged wherever all operands allow it; a stride of 0 stretches.
struct BroadcastWalk {
  static constexpr int kMaxAxes = Shape::kMaxRank + 1;
  struct Axis {
    std::int64_t size = 1, a = 0, b = 0, t = 0;  ///< strides in elements; y is contiguous
  };

  /// Throws    InvalidArgument if an operand is in a memory format that neither is plain nor that of y.
  BroadcastWalk(const TensorType& y, const TensorType& a, const TensorType& b, const TensorType& t);

  std::array<Axis, kMaxAxes> axes{};
  int count = 0;  ///< of axes; the last one is the inner loop; at least 1
  bool t_is_dense = false;

  const Axis& inner() const noexcept { return axes[count - 1]; }

  /// Calls row(y, a, b, t) with the offsets of each run along the inner axis, in the memory order of y.
  template <class F>
  void for_each_row(F row) const {
    std::array<std::int64_t, kMaxAxes> at{};
    std::int64_t y = 0, a = 0, b = 0, t = 0;
    while (true) {
      row(y, a, b, t);
      y += inner().size;
      int axis = count - 2;
      for (; axis >= 0; --axis) {
        const Axis& x = axes[axis];
        a += x.a, b += x.b, t += x.t;
        if (++at[axis] < x.size) break;
        a -= x.a * x.size, b -= x.b * x.size, t -= x.t * x.size;
        at[axis] = 0;
      }
      if (axis < 0) return;
    }
  }
};

}  // namespace phalanx
