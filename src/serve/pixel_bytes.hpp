// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace phalanx {

/// Whether all values are whole numbers from 0 to 255, as pixels are; then `bytes`, of the same length, holds them.
inline bool to_pixel_bytes(std::span<const float> values, std::uint8_t* bytes) noexcept {
  int others = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float v = values[i];
    bytes[i] = static_cast<std::uint8_t>(v >= 0.0f && v <= 255.0f ? v : 0.0f);
    others |= static_cast<float>(bytes[i]) == v ? 0 : 1;
  }
  return others == 0;
}

}  // namespace phalanx
