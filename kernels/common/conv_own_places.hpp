// SPDX-License-Identifier: Apache-2.0
/// Which places of an image a convolution's kernels read and write.
#pragma once

#include <cstdint>

#include "common/conv_own.hpp"
#include "simt/simt.hpp"

namespace phalanx::conv_own {

/// Quotients of numbers below 2^31 by a divisor that a launch fixes, without a division.
struct Divider {
  std::uint32_t divisor = 1, factor = 1, shift = 0;

  Divider() = default;
  explicit Divider(std::uint32_t by) : divisor(by) {
    while (shift < 31 && (1u << shift) < by) ++shift;
    const std::uint64_t one = 1;
    factor = static_cast<std::uint32_t>(((one << 32) * ((one << shift) - by)) / by + 1);
  }
  __device__ __forceinline__ std::uint32_t of(std::uint32_t n) const {
    const auto high = static_cast<std::uint32_t>((static_cast<std::uint64_t>(n) * factor) >> 32);
    return (high + n) >> shift;
  }
};

__device__ __forceinline__ int channel_offset(const ConvImage& image, int channel) {
  if (channel < image.block) return channel;
  return channel / image.block * image.block_stride + channel % image.block;
}

/// The cells of the window that a row of targets meets on one axis. Forward there is one phase. Backward there are `stride` of
/// them: a phase computes the places phase + r * stride, to which the same cells contribute for all r, and only these.
struct Taps {
  int count = 0;             // cells
  int first = 0, every = 1;  // cell number i is first + i * every of the kernel
  int at = 0, step = 1;      // row 0 finds its cell i at the source's place at + i * step
  int advance = 1;           // and row r that many places further for each row
  int rows = 0;
  int target = 0, spread = 1;  // row r computes the place target + r * spread
};

__host__ __device__ inline Taps forward_taps(const ConvAxis& a) {
  return {a.kernel, 0, 1, -a.pad, a.dilation, a.stride, a.out, 0, 1};
}

__host__ __device__ inline Taps backward_taps(const ConvAxis& a, int phase) {
  Taps taps;
  taps.every = a.period;
  taps.target = phase;
  taps.spread = a.stride;
  taps.rows = phase < a.in ? (a.in - phase - 1) / a.stride + 1 : 0;
  taps.step = -(a.period * a.dilation / a.stride);
  const int cells = a.kernel < a.period ? a.kernel : a.period;
  while (taps.first < cells && (phase + a.pad - taps.first * a.dilation) % a.stride != 0)
    ++taps.first;
  if (taps.first == cells) return taps;
  taps.count = (a.kernel - taps.first - 1) / a.period + 1;
  taps.at = (phase + a.pad - taps.first * a.dilation) / a.stride;
  return taps;
}

/// The phase to which a cell contributes.
__host__ __device__ inline int phase_of(const ConvAxis& a, int cell) {
  const int phase = (cell * a.dilation - a.pad) % a.stride;
  return phase < 0 ? phase + a.stride : phase;
}

}  // namespace phalanx::conv_own
