// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/image.hpp"

namespace phalanx {

// The two decoders behind decode_image; each has its contract.
Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name);
Image decode_png(std::span<const std::byte> bytes, const std::string& name);

/// Allocates the pixels.
/// Throws    InvalidInput if the size is zero or beyond kMostImageBytes.
Image make_image(std::uint64_t height, std::uint64_t width, std::uint64_t channels,
                 const std::string& name);

}  // namespace phalanx
