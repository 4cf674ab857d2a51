// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace phalanx {

/// A picture of 8 bits per value: [height, width, channels] in memory, channels 1 (grey) or 3
/// (RGB).
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<std::uint8_t> pixels;

  /// "32x48 RGB": height, width, kind.
  std::string str() const;
};

/// Largest height * width * channels that is decoded.
inline constexpr std::int64_t kMostImageBytes = std::int64_t{1} << 28;

/// A JPEG or PNG file that lies in memory, recognised by its first bytes. Palettes become RGB; 1, 2
/// and 4 bits become 8. Values are those in the file: no colour profile or gamma is applied.
///
/// Throws    InvalidInput naming `name` for other formats, damaged or truncated files, CMYK, alpha
/// channels, 16 bits per
///           value, and sizes beyond kMostImageBytes.
Image decode_image(std::span<const std::byte> bytes, const std::string& name);

/// Writes a PNG file.
/// Throws    IoError naming path and reason.
void write_png(const Image& image, const std::string& path);

/// Grey to RGB by repetition, RGB to grey by 0.299 R + 0.587 G + 0.114 B.
Image with_channels(const Image& image, std::int64_t channels);

/// Bilinear with pixel centres at half integers; when it shrinks, the support grows with the step,
/// so that every pixel counts.
/// Throws    InvalidArgument for a size that is not positive.
Image resized(const Image& image, std::int64_t height, std::int64_t width);

/// From pixels as [channels, height, width], channels 1 or 3.
Image image_of_planes(const std::uint8_t* planes, std::int64_t channels, std::int64_t height,
                      std::int64_t width);

/// Appends the pixels as [channels, height, width].
void append_planes(const Image& image, std::vector<std::byte>& planes);

}  // namespace phalanx
