// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/row_source.hpp"

namespace phalanx {

struct TransformOptions {
  bool normalise = true;          ///< subtract the mean, divide by the standard deviation
  bool normalise_targets = true;  ///< also of targets of kind kValues; only with `normalise`
  std::int64_t crop_padding = 0;  ///< images: pixels added on each side before a random crop
  bool flip = false;              ///< images: left becomes right with a chance of one half
  std::int64_t cutout = 0;        ///< images: side in pixels of a random square set to the mean
};

/// The random choices for one sample of one epoch.
struct Augmentation {
  std::int64_t dy = 0;  ///< pixel (i, j) comes from (i + dy, j + dx), before the flip
  std::int64_t dx = 0;
  bool flip = false;
  std::int64_t cut_y = 0;  ///< centre of the cutout in the output
  std::int64_t cut_x = 0;
};

/// Turns stored samples into what the model sees:  (v - mean) / std  in f32, with v = x/255 for u8
/// and v = x for f32; a standard deviation of 0 counts as 1. Images are then cropped, flipped and
/// cut out, in this order; the pixels that come in from outside and the cutout square have the
/// channel's mean, which is 0 if normalised.
///
/// Chance    every draw is philox(seed, {row, epoch, RandomStream::kAugment}): equal on all ranks,
///           threads and devices.
/// Source    cutout: DeVries, Taylor 2017, arXiv:1708.04552; the square may reach over the edge.
class Transform {
 public:
  /// Throws    ConfigError for an option out of range, or an image option for a table; InvalidInput
  ///           if a statistic that is needed is missing or has the wrong length.
  Transform(const DatasetInfo& info, const TransformOptions& options, std::uint64_t seed);

  /// Values of x per sample.
  std::int64_t sample_numel() const noexcept { return channels_ * plane_; }
  Augmentation draw(std::int64_t row, std::int64_t epoch) const noexcept;
  /// One sample from its stored form `from` (info.x_dtype) to `to` (f32, the same shape).
  void apply(const std::byte* from, std::int64_t row, std::int64_t epoch, float* to) const noexcept;
  /// The targets of `rows` samples in place, [rows, K].
  void apply_targets(float* y, std::int64_t rows) const noexcept;
  bool changes_targets() const noexcept { return !target_scale_.empty(); }

 private:
  void prepare_images(const DatasetInfo& info);
  void prepare_targets(const DatasetInfo& info);
  template <class T>
  void apply_table(const T* from, float* to) const noexcept;
  template <class T>
  void apply_image(const T* from, std::int64_t row, std::int64_t epoch, float* to) const noexcept;
  template <class T>
  void apply_crop(const T* from, std::int64_t channel, const Augmentation& a,
                  float* to) const noexcept;
  void cut_out(const Augmentation& a, float* to) const noexcept;

  TransformOptions options_;
  std::uint64_t seed_;
  DType dtype_;
  SampleKind kind_;
  // An image has `channels_` planes of height_ x width_; a table row is width_ values in one plane.
  std::int64_t channels_ = 1;
  std::int64_t height_ = 1;
  std::int64_t width_ = 1;
  std::int64_t plane_ = 1;
  std::vector<float> offset_;  // (x - offset) * scale, with x as stored; per channel or feature
  std::vector<float> scale_;
  std::vector<float> fill_;                    // what the mean is after normalisation; per channel
  std::vector<std::array<float, 256>> table_;  // u8 images: the value of each byte, per channel
  std::vector<float> target_offset_;
  std::vector<float> target_scale_;
};

}  // namespace phalanx
