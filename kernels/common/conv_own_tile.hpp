// SPDX-License-Identifier: Apache-2.0
/// Tiles of matrix products in shared memory, and what a block of threads does with two of them.
///
/// A stage holds kDepth<T> products deep: 64 bytes of each row, in pieces of 16 bytes. By rows, a tile is [rows][64 bytes]; by
/// pixels, it is [kDepth<T>][rows], for operands of which the rows lie side by side in memory. Pieces are permuted within 128
/// bytes so that neither the threads that fill a tile nor those that read it meet in a bank.
#pragma once

#include "common/pack.hpp"
#include "simt/mma.hpp"

namespace phalanx::conv_own {

inline constexpr int kStages = 4;
inline constexpr int kRowBytes = 64;
template <class T>
inline constexpr int kDepth = kRowBytes / static_cast<int>(sizeof(T));

/// What is multiplied, and how.
struct Bf16Math {
  using T = __nv_bfloat16;
  static constexpr bool kTensorCores = true;
};
struct Tf32Math {
  using T = float;
  static constexpr bool kTensorCores = true;
};
struct F32Math {
  using T = float;
  static constexpr bool kTensorCores = false;
};

/// The part of a product that a block computes, and its warps, each with an equal share.
template <int rows, int columns, int warps_down, int warps_across>
struct Tile {
  static constexpr int kRows = rows, kColumns = columns;
  static constexpr int kDown = warps_down, kAcross = warps_across;
  static constexpr int kThreads = 32 * warps_down * warps_across;
};

template <class Math>
struct Tiles {
  using Large = Tile<128, 128, 2, 2>;
  using Narrow = Tile<128, 64, 2, 2>;
  using Small = Tile<64, 64, 2, 2>;
};
template <>
struct Tiles<F32Math> {
  using Large = Tile<128, 128, 4, 2>;
  using Narrow = Tile<128, 64, 4, 1>;
  using Small = Tile<64, 64, 4, 1>;
};

/// Blocks of which a processor should hold the registers at once.
template <class Math, class Tile>
inline constexpr int kBlocks = Math::kTensorCores || Tile::kThreads == 256 ? 2 : 3;

/// Byte offset of a piece in a tile by rows.
__device__ __forceinline__ int place_by_rows(int row, int piece) {
  return row * kRowBytes + ((piece ^ (row >> 1 & 3)) << 4);
}
/// Byte offset of a piece in a tile by pixels of kWidth rows.
template <class T, int kWidth>
__device__ __forceinline__ int place_by_pixels(int pixel, int piece) {
  const int turn = sizeof(T) == 2 ? pixel & 7 : (pixel & 3) << 1;
  return pixel * kWidth * static_cast<int>(sizeof(T)) + ((piece ^ turn) << 4);
}

/// The sums of a block in fragments of tensor cores. `each` calls f(row, column, two neighbouring values).
template <class Math, class Tile>
struct Fragments {
  static constexpr int kM = Tile::kRows / Tile::kDown / 16, kN = Tile::kColumns / Tile::kAcross / 8;
  float sums[kM][kN][4] = {};
  int lane, row, column;  // of this warp's share

  __device__ Fragments() {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    lane = static_cast<int>(threadIdx.x) % 32;
    row = warp / Tile::kAcross * (kM * 16);
    column = warp % Tile::kAcross * (kN * 8);
  }
  template <class F>
  __device__ __forceinline__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < kM; ++i) {
#pragma unroll
      for (int j = 0; j < kN; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float pair[2] = {sums[i][j][half * 2], sums[i][j][half * 2 + 1]};
          f(row + i * 16 + half * 8 + lane / 4, column + j * 8 + lane % 4 * 2, pair);
        }
      }
    }
  }

 protected:
  __device__ __forceinline__ void multiply_parts(const std::uint32_t (&a)[kM][4],
                                                 const std::uint32_t (&b)[kN][2]) {
#pragma unroll
    for (int i = 0; i < kM; ++i) {
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        if constexpr (sizeof(typename Math::T) == 2)
          simt::mma_bf16(sums[i][j], a[i], b[j]);
        else
          simt::mma_tf32(sums[i][j], a[i], b[j]);
      }
    }
  }
};

__device__ __forceinline__ std::uint32_t rounded_to_tf32(std::uint32_t bits) {
  return simt::to_tf32(__uint_as_float(bits));
}

/// Products of tiles by rows.
template <class Math, class Tile, bool kTensorCores = Math::kTensorCores>
struct RowProduct : Fragments<Math, Tile> {
  using Base = Fragments<Math, Tile>;
  using Base::lane;

  /// ldmatrix sees 16-bit elements. Of 32-bit ones it gives each lane the whole that an mma of tf32 wants.
  __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b) {
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      std::uint32_t a_part[Base::kM][4], b_part[Base::kN][2];
#pragma unroll
      for (int i = 0; i < Base::kM; ++i) {
        simt::load_matrix(a_part[i],
                          a + place_by_rows(Base::row + i * 16 + lane % 16, step * 2 + lane / 16));
        if constexpr (sizeof(typename Math::T) == 4) {
#pragma unroll
          for (std::uint32_t& bits : a_part[i]) bits = rounded_to_tf32(bits);
        }
      }
#pragma unroll
      for (int j = 0; j < Base::kN; j += 2) {
        std::uint32_t both[4];
        simt::load_matrix(both, b + place_by_rows(Base::column + j * 8 + lane / 16 * 8 + lane % 8,
                                                  step * 2 + lane / 8 % 2));
#pragma unroll
        for (int r = 0; r < 4; ++r) b_part[j + r / 2][r % 2] = both[r];
      }
      Base::multiply_parts(a_part, b_part);
    }
  }
};

/// The same by one multiplication and addition after the other. Rows and columns of a thread lie a warp's width apart.
template <class Math, class Tile>
struct RowProduct<Math, Tile, false> {
  static constexpr int kDownStep = 4 * Tile::kDown, kAcrossStep = 8 * Tile::kAcross;
  static constexpr int kM = Tile::kRows / kDownStep, kN = Tile::kColumns / kAcrossStep;
  float sums[kM][kN] = {};
  int row, column;

  __device__ RowProduct() {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    row = warp / Tile::kAcross * 4 + lane / 8;
    column = warp % Tile::kAcross * 8 + lane % 8;
  }
  __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b) {
#pragma unroll 1
    for (int piece = 0; piece < 4; ++piece) {
      float4 left[kM];
#pragma unroll
      for (int i = 0; i < kM; ++i)
        left[i] = *reinterpret_cast<const float4*>(a + place_by_rows(row + i * kDownStep, piece));
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        const float4 right =
            *reinterpret_cast<const float4*>(b + place_by_rows(column + j * kAcrossStep, piece));
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          sums[i][j] += left[i].x * right.x;
          sums[i][j] += left[i].y * right.y;
          sums[i][j] += left[i].z * right.z;
          sums[i][j] += left[i].w * right.w;
        }
      }
    }
  }
  template <class F>
  __device__ __forceinline__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < kM; ++i) {
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        const float one[1] = {sums[i][j]};
        f(row + i * kDownStep, column + j * kAcrossStep, one);
      }
    }
  }
};

/// Products of tiles by pixels: d[rows, columns] += a[pixels, rows]^T b[pixels, columns].
template <class Math, class Tile, bool kTensorCores = Math::kTensorCores>
struct PixelProduct : Fragments<Math, Tile> {
  using Base = Fragments<Math, Tile>;
  using Base::lane;
  using T = typename Math::T;

  __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b) {
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      std::uint32_t a_part[Base::kM][4], b_part[Base::kN][2];
      if constexpr (sizeof(T) == 2)
        load_bf16(a, b, step * 16, a_part, b_part);
      else
        load_tf32(a, b, step * 8, a_part, b_part);
      Base::multiply_parts(a_part, b_part);
    }
  }

 private:
  __device__ __forceinline__ void load_bf16(const unsigned char* a, const unsigned char* b,
                                            int pixel, std::uint32_t (&a_part)[Base::kM][4],
                                            std::uint32_t (&b_part)[Base::kN][2]) {
#pragma unroll
    for (int i = 0; i < Base::kM; ++i)
      simt::load_matrix_transposed(
          a_part[i], a + place_by_pixels<T, Tile::kRows>(pixel + lane / 16 * 8 + lane % 8,
                                                         Base::row / 8 + i * 2 + lane / 8 % 2));
#pragma unroll
    for (int j = 0; j < Base::kN; j += 2) {
      std::uint32_t both[4];
      simt::load_matrix_transposed(
          both, b + place_by_pixels<T, Tile::kColumns>(pixel + lane % 16,
                                                       Base::column / 8 + j + lane / 16));
#pragma unroll
      for (int r = 0; r < 4; ++r) b_part[j + r / 2][r % 2] = both[r];
    }
  }
  template <int kWidth>
  static __device__ __forceinline__ std::uint32_t element(const unsigned char* tile, int pixel,
                                                          int at) {
    const unsigned char* piece = tile + place_by_pixels<T, kWidth>(pixel, at / 4);
    return simt::to_tf32(reinterpret_cast<const float*>(piece)[at % 4]);
  }
  __device__ __forceinline__ void load_tf32(const unsigned char* a, const unsigned char* b,
                                            int pixel, std::uint32_t (&a_part)[Base::kM][4],
                                            std::uint32_t (&b_part)[Base::kN][2]) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < Base::kM; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r)
        a_part[i][r] =
            element<Tile::kRows>(a, pixel + t + r / 2 * 4, Base::row + i * 16 + g + r % 2 * 8);
    }
#pragma unroll
    for (int j = 0; j < Base::kN; ++j) {
#pragma unroll
      for (int r = 0; r < 2; ++r)
        b_part[j][r] = element<Tile::kColumns>(b, pixel + t + r * 4, Base::column + j * 8 + g);
    }
  }
};

/// The same by one multiplication and addition after the other. A thread has runs of four rows and of four columns.
template <class Math, class Tile>
struct PixelProduct<Math, Tile, false> {
  static constexpr int kDownStep = 4 * Tile::kDown, kAcrossStep = 8 * Tile::kAcross;  // in runs
  static constexpr int kM = Tile::kRows / kDownStep / 4, kN = Tile::kColumns / kAcrossStep / 4;
  float sums[kM * 4][kN][4] = {};
  int row, column;  // number of the first run

  __device__ PixelProduct() {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    row = warp / Tile::kAcross * 4 + lane / 8;
    column = warp % Tile::kAcross * 8 + lane % 8;
  }
  __device__ __forceinline__ void multiply(const unsigned char* a, const unsigned char* b) {
#pragma unroll 2
    for (int pixel = 0; pixel < kDepth<float>; ++pixel) {
      float left[kM][4], right[kN][4];
#pragma unroll
      for (int i = 0; i < kM; ++i)
        load(reinterpret_cast<const float*>(
                 a + place_by_pixels<float, Tile::kRows>(pixel, row + i * kDownStep)),
             left[i]);
#pragma unroll
      for (int j = 0; j < kN; ++j)
        load(reinterpret_cast<const float*>(
                 b + place_by_pixels<float, Tile::kColumns>(pixel, column + j * kAcrossStep)),
             right[j]);
#pragma unroll
      for (int i = 0; i < kM * 4; ++i) {
#pragma unroll
        for (int j = 0; j < kN * 4; ++j)
          sums[i][j / 4][j % 4] += left[i / 4][i % 4] * right[j / 4][j % 4];
      }
    }
  }
  template <class F>
  __device__ __forceinline__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < kM * 4; ++i) {
#pragma unroll
      for (int j = 0; j < kN; ++j)
        f((row + i / 4 * kDownStep) * 4 + i % 4, (column + j * kAcrossStep) * 4, sums[i][j]);
    }
  }
};

}  // namespace phalanx::conv_own
