// SPDX-License-Identifier: Apache-2.0
/// Products of f32 matrices without tensor cores.
#pragma once

#include "common/gemm_tile.hpp"
#include "simt/mma.hpp"

namespace phalanx::gemm {

constexpr int kF32Threads = 256, kF32Depth = 16, kF32Stages = 3;

/// Copies tiles [kDepth][kExtent] of one operand into shared memory, whatever its order in global memory. `kPacks`: neighbours
/// lie along the extent, at multiples of 16 bytes. Otherwise element by element, which also transposes: a warp reads 32
/// neighbours, or 8 from each of 4 rows that it spreads over all banks.
template <int kExtent, bool kPacks>
class F32Copy {
 public:
  static constexpr int kPitch = kExtent + 4;
  static constexpr int kElements = kF32Depth * kPitch;

  /// The tile's extent begins at `begin`, the matrix ends at `end`.
  __device__ __forceinline__ F32Copy(std::int64_t stride, bool along_k, int begin, int end)
      : of_k_(along_k ? 1 : stride) {
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    int at;  // in the extent
    if constexpr (kPacks) {
      constexpr int kPacksPerRow = kExtent / 4;
      k_ = thread / kPacksPerRow;
      at = thread % kPacksPerRow * 4;
      k_pass_ = kF32Threads / kPacksPerRow;
    } else if (along_k) {
      k_ = warp % 2 * 8 + lane % 8;
      at = warp / 2 * 4 + lane / 8;
      extent_pass_ = 16;
    } else {
      constexpr int kGroups = kExtent / 32;
      k_ = warp / kGroups;
      at = warp % kGroups * 32 + lane;
      k_pass_ = kF32Threads / kExtent;
    }
    const std::int64_t of_extent = along_k ? stride : 1;
    pass_ = of_k_ * k_pass_ + of_extent * extent_pass_;
    start_ = of_k_ * k_ + of_extent * (begin + at);
    to_ = k_ * kPitch + at;
    extent_left_ = end - begin - at;
  }

  __device__ __forceinline__ void place(const float* matrix, std::int64_t, int, int k) {
    from_ = matrix + start_ + of_k_ * k;
  }
  __device__ __forceinline__ void advance(std::int64_t) { from_ += of_k_ * kF32Depth; }

  /// What lies outside of the matrix becomes 0.
  __device__ __forceinline__ void copy(float* tile, int k_left) const {
    constexpr int kPasses = kExtent * kF32Depth / kF32Threads / (kPacks ? 4 : 1);
    float* to = tile + to_;
    const float* source = from_;
    if constexpr (kPacks) {
      constexpr int kRows = kF32Threads / (kExtent / 4);
      const int left = extent_left_ < 0 ? 0 : extent_left_ < 4 ? extent_left_ : 4;
#pragma unroll
      for (int i = 0; i < kPasses; ++i, source += pass_) {
        const int valid = k_ + i * kRows < k_left ? left : 0;
        simt::copy_async<16>(to + i * kRows * kPitch, source, static_cast<unsigned>(valid) * 4);
      }
    } else {
      const int to_pass = k_pass_ * kPitch + extent_pass_;
#pragma unroll
      for (int i = 0; i < kPasses; ++i, source += pass_) {
        const bool inside = k_ + i * k_pass_ < k_left && i * extent_pass_ < extent_left_;
        simt::copy_async<4>(to + i * to_pass, source, inside ? 4 : 0);
      }
    }
  }

 private:
  const float* from_ = nullptr;  // this thread's first element
  std::int64_t of_k_;            // stride
  std::int64_t start_, pass_;    // to the first element, and from one to the next
  int k_, to_, extent_left_;     // of the first element: place in K, in the tile, before the end
  int k_pass_ = 0, extent_pass_ = 0;  // from one to the next
};

/// kSide x kSide sums of a thread, in kSide / 4 groups of 4 rows and columns that lie 64 apart.
template <int kSide>
__device__ __forceinline__ void multiply(float (&sums)[kSide][kSide], const float* a,
                                         const float* b) {
  constexpr int kPitch = kSide * 16 + 4;
#pragma unroll
  for (int k = 0; k < kF32Depth; ++k) {
    float x[kSide], y[kSide];
#pragma unroll
    for (int group = 0; group < kSide / 4; ++group) {
      const auto from_a = *reinterpret_cast<const float4*>(a + k * kPitch + group * 64);
      const auto from_b = *reinterpret_cast<const float4*>(b + k * kPitch + group * 64);
      x[group * 4] = from_a.x, x[group * 4 + 1] = from_a.y;
      x[group * 4 + 2] = from_a.z, x[group * 4 + 3] = from_a.w;
      y[group * 4] = from_b.x, y[group * 4 + 1] = from_b.y;
      y[group * 4 + 2] = from_b.z, y[group * 4 + 3] = from_b.w;
    }
#pragma unroll
    for (int i = 0; i < kSide; ++i)
#pragma unroll
      for (int j = 0; j < kSide; ++j) sums[i][j] += x[i] * y[j];
  }
}

template <int kSide>
constexpr std::size_t f32_shared_bytes() {
  return std::size_t{2} * kF32Stages * kF32Depth * (kSide * 16 + 4) * sizeof(float);
}

/// Who       a block computes 16 kSide x 16 kSide elements, a thread kSide x kSide; 4 x 8 threads of a warp read 4 times
///           16 bytes of A, which it broadcasts, and 8 of B, from different banks
/// Memory    tiles of 16 columns of A and 16 rows of B arrive in shared memory while earlier ones are multiplied
/// Barriers  one a step: behind it all copies of this step have arrived, and the buffer that is filled next has been read
/// Bound     by multiplications: kSide / 2 of them for each float that is read from shared memory
/// Sizes     any; 16-byte copies only as kPacksA and kPacksB say
template <int kSide, bool kPacksA, bool kPacksB>
__global__ void __launch_bounds__(kF32Threads, 2) gemm_f32_kernel(const Arguments p) {
  constexpr int kExtent = kSide * 16;
  using CopyA = F32Copy<kExtent, kPacksA>;
  using CopyB = F32Copy<kExtent, kPacksB>;
  SIMT_DYNAMIC_SHARED(float, shared);
  float* const b_tiles = shared + kF32Stages * CopyA::kElements;
  const Tile tile = tile_of_block<kExtent, kExtent>(p);
  Walk<float, kF32Depth, CopyA, CopyB> walk(CopyA(p.a_stride, p.a_along_k, tile.row, p.m),
                                            CopyB(p.b_stride, p.b_along_k, tile.column, p.n));
  if (tile.steps > 0) walk.start(p, tile);
  const auto copy = [&](int step) {
    if (step < tile.steps) {
      const int stage = step % kF32Stages;
      walk.a.copy(shared + stage * CopyA::kElements, walk.k_left);
      walk.b.copy(b_tiles + stage * CopyB::kElements, walk.k_left);
      walk.advance(p);
    }
    simt::commit_copies();
  };
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int row = (warp / 2 * 4 + lane / 8) * 4, column = (warp % 2 * 8 + lane % 8) * 4;
  float sums[kSide][kSide] = {};
  for (int step = 0; step < kF32Stages - 1; ++step) copy(step);
  for (int step = 0; step < tile.steps; ++step) {
    simt::wait_for_copies<kF32Stages - 2>();
    __syncthreads();
    copy(step + kF32Stages - 1);
    const int stage = step % kF32Stages;
    multiply(sums, shared + stage * CopyA::kElements + row,
             b_tiles + stage * CopyB::kElements + column);
  }
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
    const int y = tile.row + i / 4 * 64 + row + i % 4;
    if (y >= p.m) continue;
#pragma unroll
    for (int group = 0; group < kSide / 4; ++group) {
      const int x = tile.column + group * 64 + column;
      float four[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) four[j] = sums[i][group * 4 + j];
      if (x < p.n) write(p.out, tile.d, y, x, p.n - x, four);
    }
  }
}

}  // namespace phalanx::gemm
