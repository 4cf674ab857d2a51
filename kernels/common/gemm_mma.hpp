// SPDX-License-Identifier: Apache-2.0
/// Products of matrices by tensor cores: bf16, and f32 with what tf32 keeps of it.
///
/// Both look alike to shared memory. A step is as deep as 128 bytes have elements, a fragment as 32 bytes have. A tile stands
/// as it does in global memory: rows of 128 bytes along K, or one row for each k along the extent. It is copied in chunks of
/// 16 bytes, and within a row chunks change places, so that neither the copies nor the fragments meet bank conflicts.
#pragma once

#include "common/gemm_tile.hpp"
#include "simt/mma.hpp"

namespace phalanx::gemm {

/// How elements are copied and multiplied.
struct Bf16Mma {
  using Element = __nv_bfloat16;
  static __device__ __forceinline__ void multiply(float (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
    simt::mma_bf16(d, a, b);
  }
};
struct Tf32Mma {
  using Element = float;
  static __device__ __forceinline__ void multiply(float (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
    simt::mma_tf32(d, a, b);
  }
};

constexpr int kStepBytes = 128, kStages = 3;
/// Fragments in a step.
constexpr int kFragments = 4;

template <class Element>
constexpr int kDepth = kStepBytes / static_cast<int>(sizeof(Element));
template <class Element>
constexpr int kChunk = 16 / static_cast<int>(sizeof(Element));

/// By what the number of a chunk in a row changes. Lanes that read one column of chunks have rows of different remainders.
template <class Element, bool kAlongK>
__device__ __forceinline__ int chunk_change(int row) {
  // Transposed f32 is not read by ldmatrix but element by element: four rows, two chunks of each.
  if constexpr (!kAlongK && sizeof(Element) == 4) return row % 4 * 2;
  return row % 8;
}

/// Where the chunk `chunk` of row `row` stands in a tile, in bytes.
template <class Element, int kExtent, bool kAlongK>
__device__ __forceinline__ int chunk_place(int row, int chunk) {
  constexpr int kRowBytes = kAlongK ? kStepBytes : kExtent * static_cast<int>(sizeof(Element));
  return row * kRowBytes + ((chunk ^ chunk_change<Element, kAlongK>(row)) * 16);
}

/// Copies a tile of one operand, what lies outside of the matrix as zeros. `kAligned`: rows begin at multiples of 16 bytes.
template <class Element, int kExtent, bool kAlongK, bool kAligned, int kThreads>
struct MmaCopy {
  static constexpr int kChunksPerRow = (kAlongK ? kDepth<Element> : kExtent) / kChunk<Element>;
  static constexpr int kRows = kAlongK ? kExtent : kDepth<Element>;
  static constexpr int kRowsPerPass = kThreads / kChunksPerRow, kPasses = kRows / kRowsPerPass;
  static constexpr int kBytes = kExtent * kStepBytes;
  static_assert(kRowsPerPass % (sizeof(Element) == 4 && !kAlongK ? 4 : 8) == 0,
                "all rows of a thread change their chunks alike");

  const Element* from;  // this thread's first chunk

  /// The tile's extent begins at `begin`, the matrix ends at `end`.
  __device__ __forceinline__ MmaCopy(int begin, int end) : from(nullptr) {
    to_ = chunk_place<Element, kExtent, kAlongK>(row(), chunk());
    extent_left_ = end - begin - (kAlongK ? row() : chunk() * kChunk<Element>);
  }

  __device__ __forceinline__ void place(const Element* matrix, std::int64_t stride, int end,
                                        int k) {
    const int first = end - extent_left_;
    from = matrix + (kAlongK ? first * stride + k + chunk() * kChunk<Element>
                             : (k + row()) * stride + first);
  }
  __device__ __forceinline__ void advance(std::int64_t stride) {
    from += kAlongK ? std::int64_t{kDepth<Element>} : kDepth<Element> * stride;
  }

  __device__ __forceinline__ void copy(std::byte* tile, std::int64_t stride, int k_left) const {
    constexpr int kRowBytes = kAlongK ? kStepBytes : kExtent * static_cast<int>(sizeof(Element));
    const int in_chunk = clamp(kAlongK ? k_left - chunk() * kChunk<Element> : extent_left_);
    const int rows_left = kAlongK ? extent_left_ : k_left - row();
    const Element* source = from;
    std::byte* to = tile + to_;
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      copy_chunk(to + i * kRowsPerPass * kRowBytes, source,
                 i * kRowsPerPass < rows_left ? in_chunk : 0);
      source += kRowsPerPass * stride;
    }
  }

 private:
  // Computed again and again: registers are scarce, and these take an instruction.
  static __device__ __forceinline__ int row() {
    return static_cast<int>(threadIdx.x) / kChunksPerRow;
  }
  static __device__ __forceinline__ int chunk() {
    return static_cast<int>(threadIdx.x) % kChunksPerRow;
  }
  static __device__ __forceinline__ int clamp(int elements) {
    return elements < 0 ? 0 : elements < kChunk<Element> ? elements : kChunk<Element>;
  }
  static __device__ __forceinline__ void copy_chunk(std::byte* to, const Element* source,
                                                    int valid) {
    if constexpr (kAligned) {
      simt::copy_async<16>(to, source, static_cast<unsigned>(valid * sizeof(Element)));
    } else if constexpr (sizeof(Element) == 4) {
#pragma unroll
      for (int i = 0; i < kChunk<Element>; ++i)
        simt::copy_async<4>(to + i * 4, source + i, i < valid ? 4 : 0);
    } else {  // an asynchronous copy has at least 4 bytes, and these need not be aligned to more than 2
      Pack<Element, kChunk<Element>> chunk;
#pragma unroll
      for (int i = 0; i < kChunk<Element>; ++i)
        chunk.v[i] = i < valid ? source[i] : __ushort_as_bfloat16(0);
      *reinterpret_cast<Pack<Element, kChunk<Element>>*>(to) = chunk;
    }
  }

  int to_, extent_left_;
};

/// Reads fragments out of a tile: 16 rows of A, or 16 columns of B, which are the fragments of two mma.
template <class Element, int kExtent, bool kAlongK, bool kIsA>
class Fragments {
 public:
  /// `first`: of the warp's rows or columns, a multiple of 32.
  __device__ __forceinline__ explicit Fragments(int first) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    if constexpr (kIsScalar) {
      base_ = lane % 4 * kRowBytes + lane / 4 * 4 + first * 4;
      change_ = lane % 4 * 32;
    } else {  // which of four 8 x 8 parts the lane's row belongs to
      const int low = lane / 8 % 2, high = lane / 16;
      const int upper_extent = kIsA ? low : high, upper_k = kIsA ? high : low;
      base_ = (kAlongK ? first + upper_extent * 8 + lane % 8 : upper_k * 8 + lane % 8) * kRowBytes;
      const int chunk = kAlongK ? upper_k : first / kChunk<Element> + upper_extent;
      change_ = (chunk ^ lane % 8) * 16;
    }
  }

  /// Rows or columns [i * 16, i * 16 + 16) of the warp, of fragment `k` of the step.
  __device__ __forceinline__ void read(std::uint32_t (&r)[4], const std::byte* tile, int i,
                                       int k) const {
    if constexpr (kIsScalar) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int upper_extent = kIsA ? part % 2 : part / 2, upper_k = kIsA ? part / 2 : part % 2;
        const std::byte* row = tile + base_ + (k * 8 + upper_k * 4) * kRowBytes;
        r[part] =
            *reinterpret_cast<const std::uint32_t*>(row + ((i * 64 + upper_extent * 32) ^ change_));
      }
    } else if constexpr (kAlongK) {
      simt::load_matrix(r, tile + base_ + i * 16 * kRowBytes + (change_ ^ (k * 32)));
    } else {
      simt::load_matrix_transposed(r, tile + base_ + k * 16 * kRowBytes + (change_ ^ (i * 32)));
    }
    if constexpr (sizeof(Element) == 4) {
#pragma unroll
      for (int part = 0; part < 4; ++part) r[part] = simt::to_tf32(__uint_as_float(r[part]));
    }
  }

 private:
  static constexpr bool kIsScalar = !kAlongK && sizeof(Element) == 4;
  static constexpr int kRowBytes =
      kAlongK ? kStepBytes : kExtent * static_cast<int>(sizeof(Element));

  int base_;    // of the lane's row or element, in bytes
  int change_;  // of chunks, in bytes
};

/// A block's tile, and a warp's part of it.
template <int kRowsOfTile, int kColumnsOfTile, int kRowsOfWarp, int kColumnsOfWarp, int kBlocks>
struct MmaShape {
  static constexpr int kRows = kRowsOfTile, kColumns = kColumnsOfTile;
  static constexpr int kWarpRows = kRowsOfWarp, kWarpColumns = kColumnsOfWarp;
  /// That fit on a multiprocessor at once.
  static constexpr int kResident = kBlocks;
  static constexpr int kWarps = kRows / kWarpRows * (kColumns / kWarpColumns);
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kStageBytes = (kRows + kColumns) * kStepBytes;
  /// Of 16 rows of a warp's sums on their way out: 8 floats more than it has columns, so that 8 rows lie in different banks.
  static constexpr int kOutPitch = kWarpColumns + 8;
  static constexpr std::size_t kSharedBytes = std::size_t{kStages} * kStageBytes;
  static_assert(kWarps * 16 * kOutPitch * sizeof(float) <= kSharedBytes);
};
using LargeShape = MmaShape<128, 256, 64, 64, 1>;
using MediumShape = MmaShape<128, 128, 64, 64, 2>;
using SmallShape = MmaShape<64, 64, 32, 32, 4>;
/// Medium for operands that are not aligned: what gathers their elements needs the registers.
using MediumGatheringShape = MmaShape<128, 128, 64, 32, 1>;

/// Sums of a warp: row and column fragments of 16 x 8.
template <class Shape>
struct MmaSums {
  static constexpr int kHeight = Shape::kWarpRows / 16, kWidth = Shape::kWarpColumns / 8;
  float at[kHeight][kWidth][4] = {};

  /// Writes them by way of `staging`, memory of this warp, since a fragment has but two neighbours of a row.
  __device__ __forceinline__ void write_out(const Arguments& p, const Tile& tile, int first_row,
                                            int first_column, float* staging) const {
    constexpr int kPacks = Shape::kWarpColumns / 4;
    const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
    for (int i = 0; i < kHeight; ++i) {
      __syncwarp();
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        float* to = staging + lane / 4 * Shape::kOutPitch + j * 8 + lane % 4 * 2;
        *reinterpret_cast<float2*>(to) = make_float2(at[i][j][0], at[i][j][1]);
        *reinterpret_cast<float2*>(to + 8 * Shape::kOutPitch) =
            make_float2(at[i][j][2], at[i][j][3]);
      }
      __syncwarp();
#pragma unroll 1
      for (int pack = lane; pack < 16 * kPacks; pack += 32) {
        const int row = pack / kPacks, column = pack % kPacks * 4;
        const int y = tile.row + first_row + i * 16 + row, x = tile.column + first_column + column;
        if (y >= p.m || x >= p.n) continue;
        float four[4];
        load(staging + row * Shape::kOutPitch + column, four);
        write(p.out, tile.d, y, x, p.n - x, four);
      }
    }
  }
};

/// Who       a block computes a tile, a warp a part of it by mma of 16 x 8
/// Memory    tiles of A and B arrive in kStages buffers in shared memory while earlier ones are multiplied; fragments are read
///           into registers ahead of those that are multiplied: of A into others, of B into the same
/// Barriers  one a step, before the first fragment of the next step is read: behind it all copies of that step have arrived,
///           and the buffer of the step before this one, which is filled next, has been read. One more before the buffers
///           become staging memory, in which only __syncwarp is needed
/// Bound     by tensor cores: warps of 64 x 64 read 4 KiB of shared memory for 32 mma of bf16. Large tiles ask the second-level
///           cache for few bytes, which matters on 9.0
/// Sizes     any; kAligned: rows of A and B begin at multiples of 16 bytes
template <class Mma, class Shape, bool kAlongKA, bool kAlongKB, bool kAligned>
__global__ void __launch_bounds__(Shape::kThreads, kAligned ? Shape::kResident : 1)
    gemm_mma_kernel(const Arguments p) {
  using Element = typename Mma::Element;
  using CopyA = MmaCopy<Element, Shape::kRows, kAlongKA, kAligned, Shape::kThreads>;
  using CopyB = MmaCopy<Element, Shape::kColumns, kAlongKB, kAligned, Shape::kThreads>;
  using Sums = MmaSums<Shape>;
  constexpr int kWarpsAcross = Shape::kColumns / Shape::kWarpColumns;
  SIMT_DYNAMIC_SHARED(std::byte, shared);
  const Tile tile = tile_of_block<Shape::kRows, Shape::kColumns>(p);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int row = warp / kWarpsAcross * Shape::kWarpRows,
            column = warp % kWarpsAcross * Shape::kWarpColumns;
  Sums sums;
  if (tile.steps > 0) {
    Walk<Element, kDepth<Element>, CopyA, CopyB> walk(CopyA(tile.row, p.m),
                                                      CopyB(tile.column, p.n));
    walk.start(p, tile);
    int copied = 0, filled = 0;  // steps, and the buffer of the next one
    const auto copy = [&] {
      if (copied < tile.steps) {
        std::byte* stage = shared + filled * Shape::kStageBytes;
        walk.a.copy(stage, p.a_stride, walk.k_left);
        walk.b.copy(stage + CopyA::kBytes, p.b_stride, walk.k_left);
        walk.advance(p);
        ++copied;
        filled = filled + 1 == kStages ? 0 : filled + 1;
      }
      simt::commit_copies();
    };
    const Fragments<Element, Shape::kRows, kAlongKA, true> from_a(row);
    const Fragments<Element, Shape::kColumns, kAlongKB, false> from_b(column);
    constexpr int kPairs = Sums::kWidth / 2;
    std::uint32_t a[2][Sums::kHeight][4], b[kPairs][4];
    const auto read_a = [&](int buffer, int stage, int k) {
#pragma unroll
      for (int i = 0; i < Sums::kHeight; ++i)
        from_a.read(a[buffer][i], shared + stage * Shape::kStageBytes, i, k);
    };
    const auto read_b = [&](int j, int stage, int k) {
      from_b.read(b[j], shared + stage * Shape::kStageBytes + CopyA::kBytes, j, k);
    };
    for (int i = 0; i < kStages - 1; ++i) copy();
    simt::wait_for_copies<kStages - 2>();
    __syncthreads();
    read_a(0, 0, 0);
#pragma unroll
    for (int j = 0; j < kPairs; ++j) read_b(j, 0, 0);
    int current = 0;
    for (int step = 0; step < tile.steps; ++step) {
#pragma unroll
      for (int k = 0; k < kFragments; ++k) {
        if (k == kFragments - 1) {
          simt::wait_for_copies<kStages - 2>();
          __syncthreads();
          current = current + 1 == kStages ? 0 : current + 1;
        }
        // Behind the last step this reads what an earlier one left, or nothing in particular: nobody multiplies it.
        const int next = (k + 1) % kFragments;
        read_a((k + 1) % 2, current, next);
        if (k == 0) copy();
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
#pragma unroll
          for (int i = 0; i < Sums::kHeight; ++i) {
            Mma::multiply(sums.at[i][2 * j], a[k % 2][i], {b[j][0], b[j][1]});
            Mma::multiply(sums.at[i][2 * j + 1], a[k % 2][i], {b[j][2], b[j][3]});
          }
          read_b(j, current, next);  // into the registers that have just been multiplied
        }
      }
    }
    __syncthreads();
  }
  sums.write_out(p, tile, row, column,
                 reinterpret_cast<float*>(shared) + warp * 16 * Shape::kOutPitch);
}

}  // namespace phalanx::gemm
