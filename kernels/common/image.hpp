// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/tensor.hpp"

namespace phalanx {

/// How a batch of images lies in memory: [N, groups, H, W, block], groups * block = C. A "plane" is
/// one (n, group): its H * W pixels of `block` neighbouring channels each.
struct ImageSizes {
  std::int64_t n = 0, c = 0, h = 0, w = 0;
  std::int64_t block = 1;

  std::int64_t groups() const noexcept { return c / block; }
  std::int64_t planes() const noexcept { return n * groups(); }
  std::int64_t pixels() const noexcept { return h * w; }
  std::int64_t plane_size() const noexcept { return h * w * block; }
};

/// The sizes of an image of rank 4 that is walked together with another one of the same format. An
/// image of 1 x 1 pixels has the same bytes in every format, so the block is that of whichever of
/// the two tells.
inline ImageSizes image_sizes(const TensorType& type, const TensorType& other) {
  const Shape& s = type.shape;
  return {s[0], s[1], s[2], s[3], std::max(type.channel_block, other.channel_block)};
}

}  // namespace phalanx
