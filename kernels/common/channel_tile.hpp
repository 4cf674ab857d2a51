// SPDX-License-Identifier: Apache-2.0
/// How a block of threads is laid over rows of channels, where channels are neighbours in memory: `lanes` neighbouring threads
/// take a pack of channels each, and as many such teams as there are take every `teams`-th row.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "common/block_reduce.hpp"

namespace phalanx {

inline constexpr int kTileThreads = 256;
inline constexpr int kTileWarps = kTileThreads / 32;
/// Blocks of these on a multiprocessor at least: leaves 80 registers to a thread.
inline constexpr int kTileBlocksPerSm = 3;

struct ChannelTile {
  int lanes;    ///< a power of two up to 32
  int threads;  ///< of the block: a power of two from 32 to kTileThreads

  /// For `rows` rows of so many packs: wide enough for coalesced accesses, and no wider than leaves few lanes idle.
  static ChannelTile of(std::int64_t packs, std::int64_t rows) {
    const auto power_of_two = [](std::int64_t n, std::int64_t least, std::int64_t most) {
      return static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::clamp(n, least, most))));
    };
    int lanes = power_of_two(packs, 1, 32);
    for (const int fitting : {8, 16, 32})
      if (packs % fitting == 0) lanes = fitting;
    return {lanes,
            power_of_two(std::min<std::int64_t>(rows, kTileThreads) * lanes, 32, kTileThreads)};
  }
  std::int64_t count(std::int64_t packs) const { return (packs + lanes - 1) / lanes; }

  __device__ int teams() const { return threads / lanes; }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) & (lanes - 1); }
  __device__ int team() const { return static_cast<int>(threadIdx.x) / lanes; }
};

/// Joins what the teams of a tile hold for kCount things, in a fixed order; the result is that of team 0, other threads return
/// what has no meaning. `shared` [kTileWarps][kCount][32] may be used again behind the next barrier.
template <class Join, int kCount, class V>
__device__ __forceinline__ void join_teams(const ChannelTile& tile, V (&v)[kCount],
                                           V (*shared)[kCount][32]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int distance = tile.lanes; distance < 32; distance *= 2) {
#pragma unroll
    for (int k = 0; k < kCount; ++k) v[k] = Join::join(v[k], from_lane(v[k], distance));
  }
  if (lane < tile.lanes) {
#pragma unroll
    for (int k = 0; k < kCount; ++k) shared[warp][k][lane] = v[k];
  }
  __syncthreads();
  if (tile.team() > 0) return;
  for (int w = 1; w < tile.threads / 32; ++w) {
#pragma unroll
    for (int k = 0; k < kCount; ++k) v[k] = Join::join(v[k], shared[w][k][lane]);
  }
}

}  // namespace phalanx
