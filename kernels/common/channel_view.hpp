// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "tensor/tensor.hpp"

namespace phalanx {

/// A tensor [N, C, ...] as walks over its channels see it: [n, groups, pixels, block] in memory, groups * block = C.
struct ChannelView {
  std::int64_t n = 0, groups = 0, pixels = 0, block = 1;

  std::int64_t slab_size() const noexcept { return pixels * block; }
  std::int64_t slab_offset(std::int64_t sample, std::int64_t group) const noexcept {
    return (sample * groups + group) * slab_size();
  }
};

/// Rank of 2 or more. Where channels are last in memory, the samples count as pixels.
inline ChannelView channel_view(const TensorType& type) {
  const Shape& s = type.shape;
  const std::int64_t n = s[0], c = s[1], pixels = s.product(2, s.rank());
  if (pixels == 1 || type.channel_block == c) return {1, 1, n * pixels, c};
  return {n, c / type.channel_block, pixels, type.channel_block};
}

}  // namespace phalanx
