// SPDX-License-Identifier: Apache-2.0
#include "data/image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "data/image_codecs.hpp"

namespace phalanx {
namespace {

// The weights of the input pixels that make one output pixel, along one axis.
struct Taps {
  std::int64_t first = 0;
  std::vector<float> weights;
};

std::vector<Taps> linear_taps(std::int64_t from, std::int64_t to) {
  const double step = static_cast<double>(from) / static_cast<double>(to);
  const double support = std::max(step, 1.0);
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (std::int64_t o = 0; o < to; ++o) {
    const double centre = (static_cast<double>(o) + 0.5) * step;
    const auto first =
        std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(centre - support)));
    const auto last = std::min(from, static_cast<std::int64_t>(std::ceil(centre + support)));
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t i = first; i < last; ++i) {
      const double distance = std::abs(static_cast<double>(i) + 0.5 - centre) / support;
      weights.push_back(std::max(0.0, 1.0 - distance));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<std::size_t>(o)];
    taps.first = first;
    for (const double w : weights) taps.weights.push_back(static_cast<float>(w / sum));
  }
  return all;
}

// Resizes the middle axis of [outer, from, inner].
template <class T>
std::vector<float> resize_axis(const std::vector<T>& in, std::int64_t outer, std::int64_t from,
                               std::int64_t inner, std::int64_t to) {
  const std::vector<Taps> taps = linear_taps(from, to);
  std::vector<float> out(static_cast<std::size_t>(outer * to * inner), 0.0f);
  for (std::int64_t a = 0; a < outer; ++a) {
    for (std::int64_t o = 0; o < to; ++o) {
      float* row = out.data() + (a * to + o) * inner;
      const T* source = in.data() + (a * from + taps[static_cast<std::size_t>(o)].first) * inner;
      for (const float weight : taps[static_cast<std::size_t>(o)].weights) {
        for (std::int64_t i = 0; i < inner; ++i) row[i] += weight * static_cast<float>(source[i]);
        source += inner;
      }
    }
  }
  return out;
}

}  // namespace

std::string Image::str() const {
  return fmt::format("{}x{} {}", height, width, channels == 1 ? "grey" : "RGB");
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name) {
  const auto byte = [&](std::size_t i) {
    return i < bytes.size() ? std::to_integer<unsigned>(bytes[i]) : 0u;
  };
  if (byte(0) == 0xff && byte(1) == 0xd8) return decode_jpeg(bytes, name);
  if (byte(0) == 0x89 && byte(1) == 'P' && byte(2) == 'N' && byte(3) == 'G')
    return decode_png(bytes, name);
  throw InvalidInput(
      fmt::format("{}: expected a JPEG or PNG image, found {} bytes that start with {:02x} {:02x}",
                  name, bytes.size(), byte(0), byte(1)));
}

Image with_channels(const Image& image, std::int64_t channels) {
  if (image.channels == channels) return image;
  Image out{image.height, image.width, channels, {}};
  out.pixels.reserve(static_cast<std::size_t>(image.height * image.width * channels));
  if (channels == 3) {
    for (const std::uint8_t v : image.pixels) out.pixels.insert(out.pixels.end(), 3, v);
    return out;
  }
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    const unsigned sum =
        299u * image.pixels[i] + 587u * image.pixels[i + 1] + 114u * image.pixels[i + 2];
    out.pixels.push_back(static_cast<std::uint8_t>((sum + 500) / 1000));
  }
  return out;
}

Image resized(const Image& image, std::int64_t height, std::int64_t width) {
  require(height > 0 && width > 0, "an image is resized to a positive height and width");
  if (image.height == height && image.width == width) return image;
  const auto wide = resize_axis(image.pixels, image.height, image.width, image.channels, width);
  const auto all = resize_axis(wide, 1, image.height, width * image.channels, height);
  Image out{height, width, image.channels, {}};
  out.pixels.reserve(all.size());
  for (const float v : all)
    out.pixels.push_back(static_cast<std::uint8_t>(std::clamp(v + 0.5f, 0.0f, 255.0f)));
  return out;
}

void append_planes(const Image& image, std::vector<std::byte>& planes) {
  const auto count = static_cast<std::size_t>(image.channels);
  for (std::size_t c = 0; c < count; ++c)
    for (std::size_t i = c; i < image.pixels.size(); i += count)
      planes.push_back(std::byte{image.pixels[i]});
}

Image image_of_planes(const std::uint8_t* planes, std::int64_t channels, std::int64_t height,
                      std::int64_t width) {
  Image image{height, width, channels, {}};
  const std::int64_t plane = height * width;
  for (std::int64_t i = 0; i < plane; ++i)
    for (std::int64_t c = 0; c < channels; ++c) image.pixels.push_back(planes[c * plane + i]);
  return image;
}

}  // namespace phalanx
