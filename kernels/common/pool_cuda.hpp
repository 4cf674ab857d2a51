// SPDX-License-Identifier: Apache-2.0
/// Pooling over images on a GPU. A thread gathers: forward all cells of its windows, backward all windows that cover its
/// pixels, in their order, so that nothing is added by two threads.
#pragma once

#include <algorithm>
#include <limits>

#include "common/divisor.hpp"
#include "common/image.hpp"
#include "common/launch.hpp"
#include "common/pack.hpp"
#include "common/window.hpp"

namespace phalanx {

/// Cells or windows that are looked at: [begin, end).
struct PoolRange {
  int begin, end;
};

/// n / by for n below 2^31; that it is, is told to the compiler too.
__device__ __forceinline__ int quotient(int n, const Divisor& by) {
  return static_cast<int>(by.quotient(static_cast<unsigned>(n) & 0x7fffffffu));
}
/// The same, rounded up; n > 0.
__device__ __forceinline__ int quotient_up(int n, const Divisor& by) {
  return quotient(n + static_cast<int>(by.size()) - 1, by);
}
/// Leaves the quotient in n and returns the remainder.
__device__ __forceinline__ int take(int& n, const Divisor& by) {
  const int all = n;
  n = quotient(n, by);
  return all - n * static_cast<int>(by.size());
}

/// WindowAxis for kernels.
struct PoolAxis {
  int in, out, kernel, stride, dilation, pad_begin, pad_end;
  Divisor by_stride, by_dilation;

  explicit PoolAxis(const WindowAxis& a)
      : in(static_cast<int>(a.in)),
        out(static_cast<int>(a.out)),
        kernel(static_cast<int>(a.kernel)),
        stride(static_cast<int>(a.stride)),
        dilation(static_cast<int>(a.dilation)),
        pad_begin(static_cast<int>(a.pad_begin)),
        pad_end(static_cast<int>(a.pad_end)),
        by_stride(a.stride),
        by_dilation(a.dilation) {}

  __device__ int start(int o) const { return o * stride - pad_begin; }
  /// The cells of output o that lie in [low, high).
  __device__ PoolRange cells_between(int o, int low, int high) const {
    const int at = start(o);
    const int begin = at >= low ? 0 : quotient_up(low - at, by_dilation);
    const int end = at >= high ? 0 : min(kernel, quotient_up(high - at, by_dilation));
    return {begin, max(begin, end)};
  }
  __device__ PoolRange cells(int o) const { return cells_between(o, 0, in); }
  __device__ PoolRange padded_cells(int o) const {
    return cells_between(o, -pad_begin, in + pad_end);
  }
  /// The outputs whose windows reach from before place i, or from there, to behind it. With dilation not all of them have a
  /// cell there.
  __device__ PoolRange outputs(int i) const {
    const int last_cell = i + pad_begin, first_cell = last_cell - (kernel - 1) * dilation;
    const int begin = first_cell <= 0 ? 0 : quotient_up(first_cell, by_stride);
    return {begin, min(out, quotient(last_cell, by_stride) + 1)};
  }
  /// The cell of output o at place i, one of outputs(i); -1 if it has none.
  __device__ int cell_at(int o, int i) const {
    const int distance = i - start(o);
    if (dilation == 1) return distance;
    const int cell = quotient(distance, by_dilation);
    return cell * dilation == distance ? cell : -1;
  }
};

/// What every pooling kernel is told. x is [planes, in, in, block], y [planes, out, out, block]. A launch writes fewer than
/// 2^31 packs of neighbouring channels or columns.
struct PoolShape {
  PoolAxis h, w;
  int block, packs;
  Divisor packs_of_block, packs_of_row, rows;  ///< of what is written
  std::int64_t first_plane = 0;

  __device__ std::int64_t in_offset(std::int64_t plane, int i, int j) const {
    return ((plane * h.in + i) * w.in + j) * block;
  }
  __device__ std::int64_t out_offset(std::int64_t plane, int p, int q) const {
    return ((plane * h.out + p) * w.out + q) * block;
  }
};

/// What a thread writes: a pack that begins in column w, in packs, at channel b.
struct PoolPlace {
  std::int64_t plane;
  int h, w, b;

  /// Of pack `rest` of the launch.
  template <int kPack>
  __device__ static PoolPlace of(const PoolShape& shape, int rest) {
    PoolPlace at;
    at.b = take(rest, shape.packs_of_block) * kPack;
    at.w = take(rest, shape.packs_of_row);
    at.h = take(rest, shape.rows);
    at.plane = shape.first_plane + rest;
    return at;
  }
};

inline constexpr int kPoolThreads = 256;
/// Of these on a multiprocessor at least: leaves 80 registers to a thread.
inline constexpr int kPoolBlocksPerSm = 3;

/// The cells of a window. kSide > 0: all cells of a square window of that size, known to the compiler, so that it has all loads
/// under way at once.
template <int kSide, int kPack, class T, class Window>
__device__ __forceinline__ void gather_window(const PoolShape& shape, const T* first,
                                              PoolRange rows, PoolRange columns, Window& window) {
  const std::int64_t column_stride = static_cast<std::int64_t>(shape.w.dilation) * shape.block,
                     row_stride =
                         static_cast<std::int64_t>(shape.h.dilation) * shape.w.in * shape.block;
  if constexpr (kSide > 0) {
    Pack<T, kPack> packs[kSide * kSide];
#pragma unroll
    for (int k = 0; k < kSide * kSide; ++k)
      packs[k] = *reinterpret_cast<const Pack<T, kPack>*>(first + k / kSide * row_stride +
                                                          k % kSide * column_stride);
#pragma unroll
    for (int k = 0; k < kSide * kSide; ++k) {
      float v[kPack];
#pragma unroll
      for (int i = 0; i < kPack; ++i) v[i] = to_f32(packs[k].v[i]);
      window.take(v, k);
    }
  } else {
    for (int r = rows.begin; r < rows.end; ++r)
#pragma unroll 4
      for (int s = columns.begin; s < columns.end; ++s) {
        float v[kPack];
        load(first + r * row_stride + s * column_stride, v);
        window.take(v, r * shape.w.kernel + s);
      }
  }
}

/// Who       each thread takes a pack of neighbouring channels of one output (kPack > 1), or one output
/// Memory    registers; a window's cells are read by 16-byte accesses where a pack has 16 bytes, those that windows share
///           from a cache; each output is written once
/// Barriers  none
/// Bound     by bytes, unless windows overlap much
/// Sizes     any; kPack divides the block
template <int kPack, class T, class Pool>
__global__ void __launch_bounds__(kPoolThreads, kPoolBlocksPerSm)
    pool_forward_kernel(const T* __restrict__ x, PoolShape shape, Pool pool) {
  const unsigned pack = blockIdx.x * kPoolThreads + threadIdx.x;
  if (pack >= static_cast<unsigned>(shape.packs)) return;
  const PoolPlace at = PoolPlace::of<kPack>(shape, static_cast<int>(pack));
  const PoolRange rows = shape.h.cells(at.h), columns = shape.w.cells(at.w);
  const T* first = x + shape.in_offset(at.plane, shape.h.start(at.h), shape.w.start(at.w)) + at.b;
  typename Pool::template Window<kPack> window(rows.begin * shape.w.kernel + columns.begin);
  const auto is_whole = [&](int side) {
    return rows.end - rows.begin == side && columns.end - columns.begin == side &&
           shape.h.kernel == side && shape.w.kernel == side;
  };
  if (is_whole(2))
    gather_window<2, kPack>(shape, first, rows, columns, window);
  else if (is_whole(3))
    gather_window<3, kPack>(shape, first, rows, columns, window);
  else
    gather_window<0, kPack>(shape, first, rows, columns, window);
  pool.store(shape, at, shape.out_offset(at.plane, at.h, at.w) + at.b, window);
}

/// Who       each thread takes a pack of neighbouring channels of one pixel or, kColumns, of neighbouring pixels of one channel
/// Memory    registers; what windows give to several pixels is read again, from a cache; each byte of dx is written once, by
///           16-byte accesses where a pack has 16 bytes
/// Barriers  none
/// Bound     by bytes, unless windows overlap much
/// Sizes     any; kPack divides the block, or, kColumns, the width where the block is 1
template <int kPack, bool kColumns, class T, class Gradient>
__global__ void __launch_bounds__(kPoolThreads, kPoolBlocksPerSm)
    pool_backward_kernel(T* __restrict__ dx, PoolShape shape, Gradient gradient) {
  constexpr int kPixels = kColumns ? kPack : 1, kChannels = kColumns ? 1 : kPack;
  const unsigned pack = blockIdx.x * kPoolThreads + threadIdx.x;
  if (pack >= static_cast<unsigned>(shape.packs)) return;
  const PoolPlace at = PoolPlace::of<kChannels>(shape, static_cast<int>(pack));
  float sum[kPixels][kChannels] = {};
  const PoolRange rows = shape.h.outputs(at.h);
  for (int p = rows.begin; p < rows.end; ++p) {
    const int r = shape.h.cell_at(p, at.h);
    if (r < 0) continue;
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      const int j = at.w * kPixels + k;
      const PoolRange columns = shape.w.outputs(j);
      for (int q = columns.begin; q < columns.end; ++q) {
        const int s = shape.w.cell_at(q, j);
        if (s < 0) continue;
        gradient.add(shape, p, q, r * shape.w.kernel + s, shape.out_offset(at.plane, p, q) + at.b,
                     sum[k]);
      }
    }
  }
  float values[kPack];
#pragma unroll
  for (int k = 0; k < kPack; ++k) values[k] = kColumns ? sum[k][0] : sum[0][k];
  store(values, dx + shape.in_offset(at.plane, at.h, at.w * kPixels) + at.b);
}

/// Launches a kernel over planes of `h` x `w` x block elements, kPixels x kChannels in a pack.
/// Throws    Unsupported if one plane has 2^31 packs or more.
template <int kPixels, int kChannels, class Kernel, class T, class Work>
void launch_pool(const char* name, Kernel kernel, const Stream& stream, const ImageSizes& size,
                 const Window2d& window, std::int64_t h, std::int64_t w, T* tensor,
                 const Work& work) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max() - kPoolThreads;
  const std::int64_t of_plane = h * w / kPixels * (size.block / kChannels);
  require<Unsupported>(of_plane <= kMost, "pooling over one plane of 2^31 packs or more");
  PoolShape shape{PoolAxis(window.h),
                  PoolAxis(window.w),
                  static_cast<int>(size.block),
                  0,
                  Divisor(size.block / kChannels),
                  Divisor(w / kPixels),
                  Divisor(h)};
  const std::int64_t at_once = kMost / of_plane;
  for (; shape.first_plane < size.planes(); shape.first_plane += at_once) {
    const std::int64_t planes = std::min(at_once, size.planes() - shape.first_plane);
    shape.packs = static_cast<int>(planes * of_plane);
    launch(name, kernel, blocks_for(shape.packs, kPoolThreads), kPoolThreads, 0, stream, tensor,
           shape, work);
  }
}

/// y, and what else the pool stores. `size` is that of x.
template <class T, class Pool>
void pool_forward(const char* name, const Stream& stream, const ImageSizes& size,
                  const Window2d& window, const T* x, const Pool& pool) {
  const auto run = [&]<int kPack>() {
    launch_pool<1, kPack>(name, pool_forward_kernel<kPack, T, Pool>, stream, size, window,
                          window.h.out, window.w.out, x, pool);
  };
  if (size.block % kPackElements<T> == 0)
    run.template operator()<kPackElements<T>>();
  else
    run.template operator()<1>();
}

template <class T, class Gradient>
void pool_backward(const char* name, const Stream& stream, const ImageSizes& size,
                   const Window2d& window, T* dx, const Gradient& gradient) {
  const auto run = [&]<int kPack, bool kColumns>() {
    launch_pool<kColumns ? kPack : 1, kColumns ? 1 : kPack>(
        name, pool_backward_kernel<kPack, kColumns, T, Gradient>, stream, size, window, size.h,
        size.w, dx, gradient);
  };
  if (size.block % kPackElements<T> == 0)
    run.template operator()<kPackElements<T>, false>();
  else if (size.block == 1 && size.w % kPackElements<T> == 0)
    run.template operator()<kPackElements<T>, true>();
  else
    run.template operator()<1, false>();
}

}  // namespace phalanx
