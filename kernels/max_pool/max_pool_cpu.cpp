// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "common/pool_runs.hpp"
#include "max_pool/max_pool.hpp"

namespace phalanx {
namespace {

/// Sixteen outputs at a time, in registers. R, S: the window if it is whole and of this size, else
/// 0.
template <int R, int S, class T, class I>
void pool_lanes(const T* x, const PoolRun& run, std::int32_t kernel_w, T* y, I* at) {
  const auto r_begin = R > 0 ? 0 : static_cast<std::int32_t>(run.h.begin);
  const auto s_begin = S > 0 ? 0 : static_cast<std::int32_t>(run.w.begin);
  const auto r_end = R > 0 ? R : static_cast<std::int32_t>(run.h.end);
  const auto s_end = S > 0 ? S : static_cast<std::int32_t>(run.w.end);
  for_each_sixteen(run, [=](std::int64_t from, std::int64_t to, auto count, auto step) {
    const T* window = x + from;
    F32x16 best, v;
    load_some(window + r_begin * run.row_stride + s_begin * run.column_stride, count, step, best);
    I32x16 cell = I32x16{} + (r_begin * kernel_w + s_begin);
    for (std::int32_t r = r_begin; r < r_end; ++r)
      for (std::int32_t s = s_begin; s < s_end; ++s) {
        const T* here = window + r * run.row_stride + s * run.column_stride;
        prefetch_row(here);
        load_some(here, count, step, v);
        const I32x16 better = (v > best) | (v != v);
        best = better ? v : best;
        cell = better ? I32x16{} + (r * kernel_w + s) : cell;
      }
    store_some(best, count, 1, y + to);
    store_some(cell, count, 1, at + to);
  });
}

template <class T, class I>
void pool_run(const T* x, const PoolRun& run, const Window2d& window, T* y, I* at) {
  const auto kernel_w = static_cast<std::int32_t>(window.w.kernel);
  const auto is = [&](std::int64_t k) {
    return run.h.size() == k && run.w.size() == k && window.cells() == k * k;
  };
  if (is(2)) return pool_lanes<2, 2>(x, run, kernel_w, y, at);
  if (is(3)) return pool_lanes<3, 3>(x, run, kernel_w, y, at);
  pool_lanes<0, 0>(x, run, kernel_w, y, at);
}

/// Calls f with the element type of argmax.
template <class F>
void with_index_type(DType dtype, F f) {
  if (dtype == DType::kU8)
    f.template operator()<std::uint8_t>();
  else
    f.template operator()<std::int32_t>();
}

/// Sixteen windows that share no pixel with each other or with others: every cell gets dy where it
/// holds the maximum, else 0.
template <class T, class I>
void write_lanes(const T* dy, const I* at, const PoolRun& run, std::int32_t kernel_w, T* dx) {
  for_each_sixteen(run, [=](std::int64_t from, std::int64_t to, auto count, auto step) {
    F32x16 g;
    I32x16 cell;
    load_some(dy + to, count, 1, g);
    load_some(at + to, count, 1, cell);
    for (std::int64_t r = run.h.begin; r < run.h.end; ++r)
      for (std::int64_t s = run.w.begin; s < run.w.end; ++s) {
        const F32x16 part = cell == static_cast<std::int32_t>(r * kernel_w + s) ? g : F32x16{};
        store_some(part, count, step, dx + r * run.row_stride + s * run.column_stride + from);
      }
  });
}

/// Windows that tile the image: dx is written, not summed.
template <class T, class I>
void write_tiles(const T* dy, const I* at, const ImageSizes& size, const Window2d& window, T* dx) {
  if (window.h.out * window.h.kernel < size.h || window.w.out * window.w.kernel < size.w)
    std::memset(static_cast<void*>(dx), 0, static_cast<std::size_t>(size.plane_size()) * sizeof(T));
  for_each_pool_run(size, window, [&](const PoolRun& run) {
    write_lanes(dy + run.to, at + run.to, run, static_cast<std::int32_t>(window.w.kernel),
                dx + run.first);
  });
}

/// Any windows, one element at a time.
template <class T, class I>
void add_elements(const T* dy, const I* at, const ImageSizes& size, const Window2d& window,
                  float* sum) {
  const std::int64_t block = size.block;
  const auto kernel_w = static_cast<std::int32_t>(window.w.kernel);
  for (std::int64_t p = 0; p < window.h.out; ++p)
    for (std::int64_t q = 0; q < window.w.out; ++q) {
      const std::int64_t from = (p * window.w.out + q) * block;
      for (std::int64_t b = 0; b < block; ++b) {
        const auto cell = static_cast<std::int32_t>(at[from + b]);
        const std::int64_t h = window.h.start(p) + cell / kernel_w * window.h.dilation;
        const std::int64_t w = window.w.start(q) + cell % kernel_w * window.w.dilation;
        sum[(h * size.w + w) * block + b] += static_cast<float>(dy[from + b]);
      }
    }
}

/// Sixteen windows at a time: to every cell is added dy where it holds the maximum, else 0.
template <class T, class I>
void add_lanes(const T* dy, const I* at, const PoolRun& run, std::int32_t kernel_w, float* sum) {
  for_each_sixteen(run, [=](std::int64_t from, std::int64_t to, auto count, auto step) {
    F32x16 g, total;
    I32x16 cell;
    load_some(dy + to, count, 1, g);
    load_some(at + to, count, 1, cell);
    for (std::int64_t r = run.h.begin; r < run.h.end; ++r)
      for (std::int64_t s = run.w.begin; s < run.w.end; ++s) {
        float* here = sum + r * run.row_stride + s * run.column_stride + from;
        load_some(here, count, step, total);
        total += cell == static_cast<std::int32_t>(r * kernel_w + s) ? g : F32x16{};
        store_some(total, count, step, here);
      }
  });
}

template <class T, class I>
void add_windows(const T* dy, const I* at, const ImageSizes& size, const Window2d& window,
                 float* sum) {
  constexpr std::int64_t kFewCells = 16;
  if (size.block % kLanes != 0 || window.cells() > kFewCells)
    return add_elements(dy, at, size, window, sum);
  for_each_pool_run(size, window, [&](const PoolRun& run) {
    add_lanes(dy + run.to, at + run.to, run, static_cast<std::int32_t>(window.w.kernel),
              sum + run.first);
  });
}

}  // namespace

void max_pool_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  if (in[0].numel() == 0) return;
  const ImageSizes size = image_sizes(in[0].type, out[0].type);
  const Window2d window = pool_window("max_pool", ctx.attributes, in[0].shape());
  const std::int64_t y_plane = window.h.out * window.w.out * size.block;
  with_float_type(in[0].type.dtype, [&]<class T>() {
    with_index_type(out[1].type.dtype, [&]<class I>() {
#pragma omp parallel for schedule(static)
      for (std::int64_t plane = 0; plane < size.planes(); ++plane) {
        const T* x = in[0].as<T>() + plane * size.plane_size();
        T* y = out[0].as<T>() + plane * y_plane;
        I* at = out[1].as<I>() + plane * y_plane;
        for_each_pool_run(size, window, [&](const PoolRun& run) {
          pool_run(x + run.first, run, window, y + run.to, at + run.to);
        });
      }
    });
  });
}

std::unique_ptr<OpState> max_pool_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  return std::make_unique<PlaneOfSums>(out[0]);
}

void max_pool_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  // in: x, y, argmax, dy, dargmax; out: dx
  const ConstTensorView &argmax = in[2], &dy = in[3];
  if (!out[0] || out[0].numel() == 0) return;
  const ImageSizes size = image_sizes(out[0].type, dy.type);
  const Window2d window = pool_window("max_pool", ctx.attributes, out[0].shape());
  const std::int64_t y_plane = window.h.out * window.w.out * size.block;
  const bool tiles = window.h.tiles() && window.w.tiles();
  auto* sum = reinterpret_cast<float*>(ctx.workspace.data());
  with_float_type(dy.type.dtype, [&]<class T>() {
    with_index_type(argmax.type.dtype, [&]<class I>() {
      for (std::int64_t plane = 0; plane < size.planes(); ++plane) {
        const T* g = dy.as<T>() + plane * y_plane;
        const I* at = argmax.as<I>() + plane * y_plane;
        T* dx = out[0].as<T>() + plane * size.plane_size();
        if (!tiles)
          sum_plane(dx, size.plane_size(), sum,
                    [&](float* to) { add_windows(g, at, size, window, to); });
        else
          write_tiles(g, at, size, window, dx);
      }
    });
  });
}

}  // namespace phalanx
