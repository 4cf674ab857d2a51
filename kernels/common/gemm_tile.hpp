// SPDX-License-Identifier: Apache-2.0
/// What the kernels that multiply matrices share: their arguments, which tile a block computes, and where that goes.
#pragma once

#include <algorithm>

#include "common/gemm_problem.hpp"
#include "common/pack.hpp"
#include "simt/simt.hpp"

namespace phalanx::gemm {

/// Axes of matrices on the device: strides in elements of the operands.
struct Axes {
  int used = 0;
  unsigned count[GemmAxes::kMost] = {};
  std::int64_t a[GemmAxes::kMost] = {}, b[GemmAxes::kMost] = {}, d[GemmAxes::kMost] = {};

  /// Where matrix `index` of an operand begins.
  __device__ __forceinline__ std::int64_t offset(const std::int64_t (&stride)[GemmAxes::kMost],
                                                 unsigned index) const {
    std::int64_t offset = 0;
    for (int i = used - 1; i >= 0; --i) {
      const unsigned rest = index / count[i];
      offset += static_cast<std::int64_t>(index - rest * count[i]) * stride[i];
      index = rest;
    }
    return offset;
  }
};

/// Where sums go, and what becomes of them on the way: d = relu?(alpha sum + beta c) (+ d).
struct Output {
  void* d = nullptr;
  const float* c = nullptr;
  std::int64_t row = 0;  ///< stride of d, in elements
  std::int64_t c_row = 0, c_column = 0;
  float alpha = 1, beta = 0;
  bool relu = false, adds = false, is_bf16 = false;
  bool has_packs = false;  ///< four elements of d, and
  bool has_packs_c =
      false;  ///< four of c, at a column that is a multiple of 4 can be accessed at once
};

template <class T>
__device__ __forceinline__ void write(const Output& o, T* d, float (&x)[4], int columns) {
  if (o.has_packs && columns >= 4) {
    if (o.adds) {
      float before[4];
      load(d, before);
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] += before[i];
    }
    store(x, d);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i >= columns) break;
    d[i] = from_f32<T>(o.adds ? x[i] + to_f32(d[i]) : x[i]);
  }
}

/// Four neighbours of a row, of which `columns` are inside of the matrix that begins `offset` elements into d.
__device__ __forceinline__ void write(const Output& o, std::int64_t offset, int row, int column,
                                      int columns, float (&x)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) x[i] *= o.alpha;
  if (o.c != nullptr) {
    const float* c = o.c + row * o.c_row + column * o.c_column;
    float more[4] = {};
    if (o.has_packs_c && columns >= 4) {
      load(c, more);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < columns) more[i] = c[i * o.c_column];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] += o.beta * more[i];
  }
  if (o.relu) {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = x[i] < 0.0f ? 0.0f : x[i];  // NaN stays
  }
  const std::int64_t at = offset + row * o.row + column;
  if (o.is_bf16)
    write(o, static_cast<__nv_bfloat16*>(o.d) + at, x, columns);
  else
    write(o, static_cast<float*>(o.d) + at, x, columns);
}

/// Of every kernel. K is walked in steps of a tile's depth, matrix after matrix of `sums`, and `splits` blocks share the steps
/// of one tile; each then writes a partial sum into memory of its own, `partial` elements apart.
struct Arguments {
  const void* a = nullptr;
  const void* b = nullptr;
  std::int64_t a_stride = 0, b_stride = 0;
  bool a_along_k = true, b_along_k = false;
  int m = 0, n = 0, k = 0;
  unsigned tiles_m = 0, tiles_n = 0, splits = 1;
  int steps = 0;            ///< of all matrices that are summed
  int steps_per_split = 0;  ///< in the last split there may be fewer
  int steps_per_matrix = 0;
  std::int64_t partial = 0;
  Axes batches, sums;
  Output out;
};

/// What one block computes.
struct Tile {
  int row, column;        ///< where it begins in d
  int first_step, steps;  ///< its share
  std::int64_t a, b, d;   ///< where the matrices of its batch begin
};

/// Blocks that run at the same time compute a compact region of d: 8 tiles high, as wide as it gets. So they read the same rows
/// and columns of A and B at about the same time, and find them in the second-level cache.
template <int kRows, int kColumns>
__device__ __forceinline__ Tile tile_of_block(const Arguments& p) {
  constexpr unsigned kBand = 8;
  const unsigned tiles = p.tiles_m * p.tiles_n;
  const unsigned part = blockIdx.x / tiles, in_matrix = blockIdx.x - part * tiles;
  const unsigned batch = part / p.splits, split = part - batch * p.splits;
  const unsigned band = in_matrix / (kBand * p.tiles_n), in_band = in_matrix % (kBand * p.tiles_n);
  const unsigned left = p.tiles_m - band * kBand, height = left < kBand ? left : kBand;
  const unsigned column = in_band / height, row = band * kBand + in_band - column * height;
  Tile t;
  t.row = static_cast<int>(row) * kRows;
  t.column = static_cast<int>(column) * kColumns;
  t.first_step = static_cast<int>(split) * p.steps_per_split;
  const int steps_left = p.steps - t.first_step;
  t.steps = steps_left < p.steps_per_split ? steps_left : p.steps_per_split;
  t.a = p.batches.offset(p.batches.a, batch);
  t.b = p.batches.offset(p.batches.b, batch);
  t.d = p.splits > 1 ? static_cast<std::int64_t>(part) * p.partial
                     : p.batches.offset(p.batches.d, batch);
  return t;
}

/// Walks through the steps of a block: the tiles of both operands, matrix after matrix.
///   A, B: place(matrix, stride, end, k) puts them to row or column k of a matrix, advance(stride) goes on by a tile's depth
template <class T, int kDepth, class A, class B>
class Walk {
 public:
  __device__ __forceinline__ Walk(const A& to_a, const B& to_b) : a(to_a), b(to_b) {}

  A a;
  B b;
  int k_left = 0;

  __device__ __forceinline__ void start(const Arguments& p, const Tile& tile) {
    a_begin_ = static_cast<const T*>(p.a) + tile.a;
    b_begin_ = static_cast<const T*>(p.b) + tile.b;
    int step = tile.first_step;
    if (p.sums.used > 0) {
      matrix_ = step / p.steps_per_matrix;
      step -= matrix_ * p.steps_per_matrix;
    }
    place(p, step * kDepth);
  }
  __device__ __forceinline__ void advance(const Arguments& p) {
    a.advance(p.a_stride);
    b.advance(p.b_stride);
    k_left -= kDepth;
    if (k_left <= 0 && p.sums.used > 0) {
      ++matrix_;
      place(p, 0);
    }
  }

 private:
  __device__ __forceinline__ void place(const Arguments& p, int k) {
    const auto index = static_cast<unsigned>(matrix_);
    a.place(a_begin_ + p.sums.offset(p.sums.a, index), p.a_stride, p.m, k);
    b.place(b_begin_ + p.sums.offset(p.sums.b, index), p.b_stride, p.n, k);
    k_left = p.k - k;
  }

  const T *a_begin_ = nullptr, *b_begin_ = nullptr;  // of the batch
  int matrix_ = 0;
};

}  // namespace phalanx::gemm
