// SPDX-License-Identifier: Apache-2.0
#include "simt/examples.hpp"
#include "simt/mma.hpp"

namespace phalanx::simt_examples {
namespace {

// ---- f32: 16 x 16 threads compute a tile of as many elements, from tiles in shared memory ----

constexpr int kTile = 16;

__global__ void __launch_bounds__(kTile* kTile)
    matmul_f32_kernel(const float* __restrict__ a, const float* __restrict__ b, float* c, int m,
                      int n, int k) {
  __shared__ float a_tile[kTile][kTile], b_tile[kTile][kTile];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * kTile + y,
            column = static_cast<int>(blockIdx.x) * kTile + x;
  float sum = 0.0f;
  for (int k0 = 0; k0 < k; k0 += kTile) {
    a_tile[y][x] = row < m && k0 + x < k ? a[static_cast<size_t>(row) * k + k0 + x] : 0.0f;
    b_tile[y][x] = k0 + y < k && column < n ? b[static_cast<size_t>(k0 + y) * n + column] : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTile; ++i) sum += a_tile[y][i] * b_tile[i][x];
    __syncthreads();
  }
  if (row < m && column < n) c[static_cast<size_t>(row) * n + column] = sum;
}

// ---- bf16: a block of 4 warps computes 64 x 64, a warp 32 x 32; the next tiles arrive while these are multiplied ----

constexpr int kRows = 64, kColumns = 64, kDepth = 32, kThreads = 128;
// Eight elements between rows: the rows that a warp loads at once lie in different banks.
constexpr int kPitchA = kDepth + 8, kPitchB = kColumns + 8;
constexpr int kElementsA = kRows * kPitchA, kElementsB = kDepth * kPitchB;

struct Problem {
  const __nv_bfloat16 *a, *b;
  float* c;
  int m, n, k;
};

/// Copies a tile of rows x columns from a matrix of which `rows_left` x `columns_left` are left; zeros behind them.
template <int rows, int columns, int pitch>
__device__ void copy_tile(__nv_bfloat16* tile, const __nv_bfloat16* from, int stride, int rows_left,
                          int columns_left) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns / 8; i += kThreads) {
    const int row = i / (columns / 8), column = i % (columns / 8) * 8;
    const bool inside = row < rows_left && column < columns_left;
    const __nv_bfloat16* source = inside ? from + static_cast<size_t>(row) * stride + column : from;
    simt::copy_async<16>(tile + row * pitch + column, source, inside ? 16 : 0);
  }
}

/// Adds the product of two tiles to the 2 x 4 fragments of a warp that begins at {row, column} of the block.
__device__ void multiply(float (&sums)[2][4][4], const __nv_bfloat16* a, const __nv_bfloat16* b,
                         int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    std::uint32_t a_part[2][4], b_part[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      simt::load_matrix(a_part[i], a + (row + i * 16 + lane % 16) * kPitchA + k + lane / 16 * 8);
      simt::load_matrix_transposed(b_part[i],
                                   b + (k + lane % 16) * kPitchB + column + i * 16 + lane / 16 * 8);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const std::uint32_t pair[2] = {b_part[j / 2][j % 2 * 2], b_part[j / 2][j % 2 * 2 + 1]};
        simt::mma_bf16(sums[i][j], a_part[i], pair);
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads) matmul_bf16_kernel(Problem p) {
  SIMT_DYNAMIC_SHARED(__nv_bfloat16, shared);
  __nv_bfloat16* a_tiles = shared;  // two of each
  __nv_bfloat16* b_tiles = shared + 2 * kElementsA;
  const int row0 = static_cast<int>(blockIdx.y) * kRows,
            column0 = static_cast<int>(blockIdx.x) * kColumns;
  const auto copy = [&](int step) {
    const int k0 = step * kDepth;
    copy_tile<kRows, kDepth, kPitchA>(a_tiles + step % 2 * kElementsA,
                                      p.a + static_cast<size_t>(row0) * p.k + k0, p.k, p.m - row0,
                                      p.k - k0);
    copy_tile<kDepth, kColumns, kPitchB>(b_tiles + step % 2 * kElementsB,
                                         p.b + static_cast<size_t>(k0) * p.n + column0, p.n,
                                         p.k - k0, p.n - column0);
    simt::commit_copies();
  };
  const int warp = static_cast<int>(threadIdx.x / 32), row = warp / 2 * 32, column = warp % 2 * 32;
  float sums[2][4][4] = {};
  const int steps = (p.k + kDepth - 1) / kDepth;
  copy(0);
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      copy(step + 1);
      simt::wait_for_copies<1>();
    } else {
      simt::wait_for_copies<0>();
    }
    __syncthreads();
    multiply(sums, a_tiles + step % 2 * kElementsA, b_tiles + step % 2 * kElementsB, row, column);
    __syncthreads();
  }
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < 16; ++i) {  // half a fragment each: two neighbours of a row
    const int y = row0 + row + i / 8 * 16 + i % 2 * 8 + lane / 4,
              x = column0 + column + i % 8 / 2 * 8 + lane % 4 * 2;
    const float* pair = sums[i / 8][i % 8 / 2] + i % 2 * 2;
    if (y < p.m && x < p.n) {
      *reinterpret_cast<float2*>(p.c + static_cast<size_t>(y) * p.n + x) =
          make_float2(pair[0], pair[1]);
    }
  }
}

int blocks_for(int elements, int tile) { return (elements + tile - 1) / tile; }

}  // namespace

void matmul_f32(const float* a, const float* b, float* c, int m, int n, int k,
                cudaStream_t stream) {
  if (m == 0 || n == 0) return;
  const dim3 grid(blocks_for(n, kTile), blocks_for(m, kTile));
  simt::launch(matmul_f32_kernel, grid, dim3(kTile, kTile), 0, stream, a, b, c, m, n, k);
}

void matmul_bf16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int m, int n, int k,
                 cudaStream_t stream) {
  if (m == 0 || n == 0) return;
  const dim3 grid(blocks_for(n, kColumns), blocks_for(m, kRows));
  const size_t bytes = 2 * (kElementsA + kElementsB) * sizeof(__nv_bfloat16);
  simt::launch(matmul_bf16_kernel, grid, kThreads, bytes, stream, Problem{a, b, c, m, n, k});
}

}  // namespace phalanx::simt_examples
