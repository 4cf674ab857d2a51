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

/// Outputs that lie one after the other in memory and whose windows look at the same cells: cell
/// (r, s) of output i is plane[first + r * row_stride + s * column_stride + i * step], and output i
/// is y_plane[to + i]. `first` may lie in padding; the cells in h x w do not.
struct PoolRun {
  Range h, w;
  std::int64_t first, row_stride, column_stride, step;
  std::int64_t to, count;
  std::int64_t row, column;  ///< of the first output
};

/// Calls f(run) for the outputs of one plane, in order. Runs inside the image are as long as the
/// format allows; windows that reach into padding are runs of their own.
template <class F>
void for_each_pool_run(const ImageSizes& size, const Window2d& window, F f) {
  const Range inner = window.w.inner();
  const std::int64_t block = size.block;
  PoolRun run{};
  run.row_stride = window.h.dilation * size.w * block;
  run.column_stride = window.w.dilation * block;
  for (std::int64_t p = 0; p < window.h.out; ++p) {
    run.h = window.h.cells(p);
    run.row = p;
    for (std::int64_t q = 0; q < window.w.out;) {
      const bool many = block == 1 && q == inner.begin && inner.size() > 0;
      run.w = q >= inner.begin && q < inner.end ? Range{0, window.w.kernel} : window.w.cells(q);
      run.first = (window.h.start(p) * size.w + window.w.start(q)) * block;
      run.step = many ? window.w.stride : 1;
      run.count = many ? inner.size() : block;
      run.to = (p * window.w.out + q) * block;
      run.column = q;
      f(run);
      q += many ? inner.size() : 1;
    }
  }
}

/// Calls f(i, count, step) for the outputs [i, i + count) of a run, sixteen at a time. Where all
/// are whole and their windows lie side by side, count and step are constants to the compiler.
template <class F>
void for_each_sixteen(const PoolRun& run, F f) {
  if (run.step == 1 && run.count % kLanes == 0) {
    for (std::int64_t i = 0; i < run.count; i += kLanes)
      f(i, std::integral_constant<std::int64_t, kLanes>(),
        std::integral_constant<std::int64_t, 1>());
  } else {
    for (std::int64_t i = 0; i < run.count; i += kLanes)
      f(i, std::min(kLanes, run.count - i), run.step);
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
