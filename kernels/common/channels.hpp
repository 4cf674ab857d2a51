// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/channel_view.hpp"

namespace phalanx {

/// Channels, or neighbouring pixels of one channel, that are worked on together.
inline constexpr int kChannelLanes = 16;
/// Longest run of f32 additions; beyond it, sums are kept in double.
inline constexpr std::int64_t kSegmentPixels = 512;

/// Adds, for each of the `block` channels of a slab [pixels, block], Sums different sums over the
/// pixels:
///   total[k * block + b] += sum_p term(p * block + b, b)[k].
/// f32 within kSegmentPixels pixels (or as many per lane, where block = 1), double beyond. The
/// order is fixed.
template <int Sums, class Term>
void add_channel_sums(std::int64_t pixels, std::int64_t block, double* total, Term term) {
  if (block == 1) {
    constexpr std::int64_t kSegment = kSegmentPixels * kChannelLanes;
    for (std::int64_t begin = 0; begin < pixels; begin += kSegment) {
      const std::int64_t end = std::min(pixels, begin + kSegment),
                         whole = begin + (end - begin) / kChannelLanes * kChannelLanes;
      float sum[Sums][kChannelLanes] = {};
      for (std::int64_t p = begin; p < whole; p += kChannelLanes)
        for (int lane = 0; lane < kChannelLanes; ++lane) {
          const auto t = term(p + lane, std::int64_t{0});
          for (int k = 0; k < Sums; ++k) sum[k][lane] += t[k];
        }
      for (std::int64_t p = whole; p < end; ++p) {
        const auto t = term(p, std::int64_t{0});
        for (int k = 0; k < Sums; ++k) sum[k][p - whole] += t[k];
      }
      for (int k = 0; k < Sums; ++k)
        for (float s : sum[k]) total[k] += static_cast<double>(s);
    }
    return;
  }
  // A segment is walked once for every sixteen channels and should stay in the first-level cache.
  const std::int64_t segment =
      std::clamp<std::int64_t>(kSegmentPixels * kChannelLanes / block, 16, kSegmentPixels);
  for (std::int64_t begin = 0; begin < pixels; begin += segment) {
    const std::int64_t end = std::min(pixels, begin + segment);
    const auto add_lanes = [&]<int Lanes>(std::int64_t first, std::int64_t rest) {
      const std::int64_t lanes = Lanes > 0 ? Lanes : rest;
      float sum[Sums][kChannelLanes] = {};
      for (std::int64_t p = begin; p < end; ++p)
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
          const auto t = term(p * block + first + lane, first + lane);
          for (int k = 0; k < Sums; ++k) sum[k][lane] += t[k];
        }
      for (int k = 0; k < Sums; ++k)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
          total[k * block + first + lane] += static_cast<double>(sum[k][lane]);
    };
    std::int64_t first = 0;
    for (; first + kChannelLanes <= block; first += kChannelLanes)
      add_lanes.template operator()<kChannelLanes>(first, 0);
    if (first < block) add_lanes.template operator()<0>(first, block - first);
  }
}

/// Calls f(offset, channel of the block) for every element of a slab, in memory order, in loops
/// that vectorise.
template <class F>
void for_each_in_slab(std::int64_t pixels, std::int64_t block, F f) {
  if (block == 1) {
#pragma GCC ivdep
    for (std::int64_t p = 0; p < pixels; ++p) f(p, std::int64_t{0});
  } else if (block == kChannelLanes) {
    for (std::int64_t p = 0; p < pixels; ++p)
#pragma GCC ivdep
      for (std::int64_t b = 0; b < kChannelLanes; ++b) f(p * kChannelLanes + b, b);
  } else {
    for (std::int64_t p = 0; p < pixels; ++p)
#pragma GCC ivdep
      for (std::int64_t b = 0; b < block; ++b) f(p * block + b, b);
  }
}

}  // namespace phalanx
