// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "common/image.hpp"
#include "common/lanes.hpp"
#include "common/window.hpp"
#include "op/op.hpp"

namespace phalanx {

/// Outputs that lie one after the other in memory and whose windows look at the same cells: `count` of them, and behind these
/// as many for each other of `pixels` places side by side. Cell (r, s) of output i at place j is
/// plane[first + r * row_stride + s * column_stride + j * pixel_step + i * step], and the output y_plane[to + j * count + i].
/// `first` may lie in padding; the cells in h x w do not.
struct PoolRun {
  Range h, w;
  std::int64_t first, row_stride, column_stride, step, pixel_step;
  std::int64_t to, count, pixels;
  std::int64_t row, column;  ///< of the first output
};

/// Calls f(run) for the outputs of one plane, in order. Runs inside the image are a row long; windows that reach into padding
/// are runs of their own.
template <class F>
void for_each_pool_run(const ImageSizes& size, const Window2d& window, F f) {
  const Range inner = window.w.inner();
  const std::int64_t block = size.block;
  PoolRun run{};
  run.row_stride = window.h.dilation * size.w * block;
  run.column_stride = window.w.dilation * block;
  run.pixel_step = window.w.stride * block;
  for (std::int64_t p = 0; p < window.h.out; ++p) {
    run.h = window.h.cells(p);
    run.row = p;
    for (std::int64_t q = 0; q < window.w.out;) {
      const std::int64_t places = q == inner.begin && inner.size() > 0 ? inner.size() : 1;
      const bool is_inside = q >= inner.begin && q < inner.end;
      run.w = is_inside ? Range{0, window.w.kernel} : window.w.cells(q);
      run.first = (window.h.start(p) * size.w + window.w.start(q)) * block;
      // Of one channel neighbours are places, else channels.
      run.step = block == 1 ? window.w.stride : 1;
      run.count = block == 1 ? places : block;
      run.pixels = block == 1 ? 1 : places;
      run.to = (p * window.w.out + q) * block;
      run.column = q;
      f(run);
      q += places;
    }
  }
}

/// Calls f(from, to, count, step) for the outputs to ... to + count - 1 of a run, sixteen at a time, whose windows begin at
/// from, from + step, ... Where all are whole and their windows lie side by side, count and step are constants to the compiler.
template <class F>
void for_each_sixteen(PoolRun run, F f) {  // a copy, which no store of f can change
  using std::integral_constant;
  const bool are_whole = run.step == 1 && run.count % kLanes == 0;
  for (std::int64_t j = 0; j < run.pixels; ++j) {
    const std::int64_t from = j * run.pixel_step, to = j * run.count;
    if (are_whole)
      for (std::int64_t i = 0; i < run.count; i += kLanes)
        f(from + i, to + i, integral_constant<std::int64_t, kLanes>(),
          integral_constant<std::int64_t, 1>());
    else
      for (std::int64_t i = 0; i < run.count; i += kLanes)
        f(from + i * run.step, to + i, std::min(kLanes, run.count - i), run.step);
  }
}

/// Asks for what a walk over the rows of a window will read soon: the processor does not foresee
/// several rows at once.
inline void prefetch_row(const void* at) noexcept {
  constexpr std::size_t kAheadBytes = 2048;
  __builtin_prefetch(static_cast<const std::byte*>(at) + kAheadBytes);
}

/// One plane of f32 sums in the workspace, for a dx of lower precision that is summed from several
/// windows.
class PlaneOfSums final : public OpState {
 public:
  explicit PlaneOfSums(const TensorType& dx) {
    if (dx.dtype == DType::kF32) return;
    // Where H = W = 1 the block does not show in the type, so take all channels.
    const std::int64_t pixels = dx.shape[2] * dx.shape[3];
    const std::int64_t block = pixels == 1 ? dx.shape[1] : dx.channel_block;
    size_bytes_ = static_cast<std::size_t>(block * pixels) * sizeof(float);
  }
  std::size_t workspace_bytes() const noexcept override { return size_bytes_; }

 private:
  std::size_t size_bytes_ = 0;
};

/// Calls add(sum), which adds to a plane of zeros in f32, and leaves the result in dx. `plane` is
/// PlaneOfSums' workspace.
template <class T, class Add>
void sum_plane(T* dx, std::int64_t plane_size, [[maybe_unused]] float* plane, Add add) {
  if constexpr (std::is_same_v<T, float>) {
    std::fill_n(dx, plane_size, 0.0f);
    add(dx);
  } else {
    std::fill_n(plane, plane_size, 0.0f);
    add(plane);
    for (std::int64_t i = 0; i < plane_size; ++i) dx[i] = T(plane[i]);
  }
}

}  // namespace phalanx
