// SPDX-License-Identifier: Apache-2.0
#include "data/transforms.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "core/error.hpp"
#include "core/rng.hpp"

namespace phalanx {
namespace {

// How one stored value becomes one f32.
struct ByLookup {
  const float* table;
  float operator()(std::uint8_t x) const noexcept { return table[x]; }
};
struct ByProduct {
  float offset;
  float scale;
  float operator()(float x) const noexcept { return (x - offset) * scale; }
};

double divisor(float std_deviation) {
  return std_deviation > 0.0f ? static_cast<double>(std_deviation) : 1.0;
}

void check_statistics(std::string_view what, std::size_t found, std::int64_t expected) {
  if (found != static_cast<std::size_t>(expected))
    throw InvalidInput(fmt::format("normalise: the data set's {} has {} values, expected {}", what,
                                   found, expected));
}

void check_options(const DatasetInfo& info, const TransformOptions& o) {
  constexpr std::int64_t kLargest =
      1 << 20;  // pixels; keeps every sum of a place and an offset small
  if (o.crop_padding < 0 || o.crop_padding > kLargest)
    throw ConfigError(
        fmt::format("augment_crop: expected 0 to {}, found {}", kLargest, o.crop_padding));
  if (o.cutout < 0 || o.cutout > kLargest)
    throw ConfigError(
        fmt::format("augment_cutout: expected 0 to {}, found {}", kLargest, o.cutout));
  if (info.kind != SampleKind::kImage && (o.crop_padding > 0 || o.flip || o.cutout > 0))
    throw ConfigError(
        "augment_crop, augment_flip and augment_cutout need images, the data set holds table rows");
  const int rank = info.kind == SampleKind::kImage ? 3 : 1;
  if (info.sample.rank() != rank)
    throw InvalidInput(fmt::format("a sample has shape {}, expected {}", info.sample.str(),
                                   rank == 3 ? "[C, H, W]" : "[F]"));
  if (info.x_dtype != DType::kU8 && info.x_dtype != DType::kF32)
    throw InvalidInput(
        fmt::format("samples are stored as {}, expected u8 or f32", name(info.x_dtype)));
}

// Uniform in [0, n).
std::int64_t below(std::uint32_t bits, std::int64_t n) {
  return static_cast<std::int64_t>(std::uint64_t{bits} * static_cast<std::uint64_t>(n) >> 32);
}

}  // namespace

Transform::Transform(const DatasetInfo& info, const TransformOptions& options, std::uint64_t seed)
    : options_(options), seed_(seed), dtype_(info.x_dtype), kind_(info.kind) {
  check_options(info, options);
  const bool image = kind_ == SampleKind::kImage;
  channels_ = image ? info.sample[0] : 1;
  height_ = image ? info.sample[1] : 1;
  width_ = info.sample[-1];
  plane_ = height_ * width_;

  const std::int64_t series = image ? channels_ : width_;
  if (options_.normalise) {
    check_statistics("mean", info.mean.size(), series);
    check_statistics("std", info.std.size(), series);
  }
  const double unit = dtype_ == DType::kU8 ? 255.0 : 1.0;  // statistics of bytes are those of x/255
  for (std::int64_t i = 0; i < series; ++i) {
    offset_.push_back(options_.normalise ? static_cast<float>(info.mean[i] * unit) : 0.0f);
    scale_.push_back(
        static_cast<float>(1.0 / (unit * (options_.normalise ? divisor(info.std[i]) : 1.0))));
  }
  if (image) prepare_images(info);
  prepare_targets(info);
}

void Transform::prepare_images(const DatasetInfo& info) {
  const bool known = static_cast<std::int64_t>(info.mean.size()) == channels_;
  for (std::int64_t c = 0; c < channels_; ++c)
    fill_.push_back(options_.normalise || !known ? 0.0f : info.mean[c]);
  if (dtype_ != DType::kU8) return;
  table_.resize(static_cast<std::size_t>(channels_));
  for (std::int64_t c = 0; c < channels_; ++c) {
    const double mean = options_.normalise ? info.mean[c] : 0.0;
    const double width = options_.normalise ? divisor(info.std[c]) : 1.0;
    for (int x = 0; x < 256; ++x) table_[c][x] = static_cast<float>((x / 255.0 - mean) / width);
  }
}

void Transform::prepare_targets(const DatasetInfo& info) {
  if (info.target != TargetKind::kValues || !options_.normalise || !options_.normalise_targets)
    return;
  check_statistics("target_mean", info.target_mean.size(), info.targets);
  check_statistics("target_std", info.target_std.size(), info.targets);
  target_offset_ = info.target_mean;
  for (const float s : info.target_std)
    target_scale_.push_back(static_cast<float>(1.0 / divisor(s)));
}

Augmentation Transform::draw(std::int64_t row, std::int64_t epoch) const noexcept {
  const auto id = static_cast<std::uint64_t>(row);
  const auto bits = [&](std::uint32_t index) {
    return philox(seed_, {static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(id >> 32),
                          static_cast<std::uint32_t>(epoch),
                          static_cast<std::uint32_t>(RandomStream::kAugment) << 8 | index});
  };
  Augmentation a;
  if (options_.crop_padding > 0 || options_.flip) {
    const auto word = bits(0);
    a.dy = below(word[0], 2 * options_.crop_padding + 1) - options_.crop_padding;
    a.dx = below(word[1], 2 * options_.crop_padding + 1) - options_.crop_padding;
    a.flip = options_.flip && below(word[2], 2) == 1;
  }
  if (options_.cutout > 0) {
    const auto word = bits(1);
    a.cut_y = below(word[0], height_);
    a.cut_x = below(word[1], width_);
  }
  return a;
}

void Transform::apply(const std::byte* from, std::int64_t row, std::int64_t epoch,
                      float* to) const noexcept {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
  const auto* floats = reinterpret_cast<const float*>(from);
  if (kind_ == SampleKind::kTable) {
    if (dtype_ == DType::kU8) return apply_table(bytes, to);
    return apply_table(floats, to);
  }
  if (dtype_ == DType::kU8) return apply_image(bytes, row, epoch, to);
  return apply_image(floats, row, epoch, to);
}

template <class T>
void Transform::apply_table(const T* from, float* to) const noexcept {
  const float* offset = offset_.data();
  const float* scale = scale_.data();
  for (std::int64_t i = 0; i < width_; ++i)
    to[i] = (static_cast<float>(from[i]) - offset[i]) * scale[i];
}

template <class T>
void Transform::apply_image(const T* from, std::int64_t row, std::int64_t epoch,
                            float* to) const noexcept {
  const Augmentation a = draw(row, epoch);
  for (std::int64_t c = 0; c < channels_; ++c) apply_crop(from + c * plane_, c, a, to + c * plane_);
  if (options_.cutout > 0) cut_out(a, to);
}

// One plane. Output columns [lo, hi) have a source; flipped, they run through it backwards.
template <class T>
void Transform::apply_crop(const T* from, std::int64_t channel, const Augmentation& a,
                           float* to) const noexcept {
  const auto value = [&] {
    if constexpr (sizeof(T) == 1) {
      return ByLookup{table_[channel].data()};
    } else {
      return ByProduct{offset_[channel], scale_[channel]};
    }
  }();
  if (a.dy == 0 && a.dx == 0 && !a.flip) {
    for (std::int64_t i = 0; i < plane_; ++i) to[i] = value(from[i]);
    return;
  }
  const float fill = fill_[channel];
  const std::int64_t shift =
      a.flip ? -a.dx : a.dx;  // a flip turns the side that the crop left open
  const std::int64_t lo = std::clamp<std::int64_t>(-shift, 0, width_);
  const std::int64_t hi = std::clamp<std::int64_t>(width_ - shift, lo, width_);
  for (std::int64_t i = 0; i < height_; ++i, to += width_) {
    const std::int64_t y = i + a.dy;
    if (y < 0 || y >= height_) {
      std::fill_n(to, width_, fill);
      continue;
    }
    const T* line = from + y * width_;
    std::fill_n(to, lo, fill);
    if (a.flip) {
      const std::int64_t mirror = width_ - 1 - shift;
      for (std::int64_t j = lo; j < hi; ++j) to[j] = value(line[mirror - j]);
    } else {
      for (std::int64_t j = lo; j < hi; ++j) to[j] = value(line[j + shift]);
    }
    std::fill_n(to + hi, width_ - hi, fill);
  }
}

void Transform::cut_out(const Augmentation& a, float* to) const noexcept {
  const std::int64_t half = options_.cutout / 2;
  const std::int64_t top = std::max<std::int64_t>(a.cut_y - half, 0);
  const std::int64_t bottom = std::min(a.cut_y - half + options_.cutout, height_);
  const std::int64_t left = std::max<std::int64_t>(a.cut_x - half, 0);
  const std::int64_t right = std::min(a.cut_x - half + options_.cutout, width_);
  for (std::int64_t c = 0; c < channels_; ++c)
    for (std::int64_t y = top; y < bottom; ++y)
      std::fill(to + c * plane_ + y * width_ + left, to + c * plane_ + y * width_ + right,
                fill_[c]);
}

void Transform::apply_targets(float* y, std::int64_t rows) const noexcept {
  const std::size_t k = target_scale_.size();
  for (std::int64_t r = 0; r < rows; ++r, y += k)
    for (std::size_t i = 0; i < k; ++i) y[i] = (y[i] - target_offset_[i]) * target_scale_[i];
}

}  // namespace phalanx
