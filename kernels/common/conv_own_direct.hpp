// SPDX-License-Identifier: Apache-2.0
/// Parts of the classes of conv_own.hpp that stand in sources of their own.
#pragma once

#include "common/conv_own.hpp"

namespace phalanx::conv_own {

constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) noexcept {
  return (n + to - 1) / to * to;
}

/// Whether a product of tiles would multiply zeros for more than nine parts in ten, and direct sums are short: groups of few
/// channels. `used` and `all` count multiplications.
inline bool is_direct(const ConvShape& shape, std::int64_t used, std::int64_t all) noexcept {
  constexpr int kMostChannels = 32;
  return shape.group > 1 && shape.c_of_group() <= kMostChannels &&
         shape.o_of_group() <= kMostChannels && 10 * used < all;
}
/// Columns of the smallest tile.
inline constexpr int kLeastColumns = 64;

/// A convolution in one direction: the target y from the source x, or dx from dy.
struct ConvOperands {
  const void *source, *packed;
  const float* bias;
  bool relu;
  void* target;
  ConvImage from, to;
  ConvAxis h, w;
  int depth, columns;  // channels of a group in the source and in the target
};

inline int depth_of(const ConvShape& s, bool is_backward) noexcept {
  return is_backward ? s.o_of_group() : s.c_of_group();
}
inline int columns_of(const ConvShape& s, bool is_backward) noexcept {
  return is_backward ? s.c_of_group() : s.o_of_group();
}
inline ConvOperands operands_of(const ConvShape& s, bool is_backward, const void* source,
                                const void* packed, const float* bias, bool relu,
                                void* target) noexcept {
  return {.source = source,
          .packed = packed,
          .bias = bias,
          .relu = relu,
          .target = target,
          .from = is_backward ? s.y : s.x,
          .to = is_backward ? s.x : s.y,
          .h = s.h,
          .w = s.w,
          .depth = depth_of(s, is_backward),
          .columns = columns_of(s, is_backward)};
}

/// Weights for run_direct: [R][S][depth][channels of the target].
void pack_direct(const ConvShape& shape, bool is_backward, const float* w, void* packed,
                 BackendStream& stream);
/// y from x, or dx from dy, each element by a sum of its own.
void run_direct(const ConvShape& shape, bool is_backward, const void* source, const void* packed,
                const float* bias, bool relu, void* target, BackendStream& stream);

/// Weights for dx: for each phase, group and channel of x a row of `pitch` elements, [cells of the phase][O/G].
void pack_phases(const ConvShape& shape, const float* w, void* packed, int pitch,
                 BackendStream& stream);

/// sums[part][O][pitch] of dw, each row of which is [R][S][C/G], each element by a sum of its own.
void sum_weights_direct(const ConvShape& shape, const void* x, const void* dy, float* sums,
                        int parts, std::int64_t pitch, BackendStream& stream);

}  // namespace phalanx::conv_own
