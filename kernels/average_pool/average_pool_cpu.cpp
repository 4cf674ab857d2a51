// SPDX-License-Identifier: Apache-2.0
#include "average_pool/average_pool.hpp"
#include "common/pool_runs.hpp"

namespace phalanx {
namespace {

float one_over_cells(const PoolRun& run, const Window2d& window, bool include_pad) {
  const std::int64_t h = include_pad ? window.h.padded_cells(run.row).size() : run.h.size();
  const std::int64_t w = include_pad ? window.w.padded_cells(run.column).size() : run.w.size();
  return 1.0f / static_cast<float>(h * w);
}

/// Sixteen outputs at a time, in registers.
template <class T>
void average(const T* x, const PoolRun& run, float scale, T* y) {
  for_each_sixteen(run, [=](std::int64_t from, std::int64_t to, auto count, auto step) {
    F32x16 sum{}, v;
    for (std::int64_t r = run.h.begin; r < run.h.end; ++r)
      for (std::int64_t s = run.w.begin; s < run.w.end; ++s) {
        const T* here = x + r * run.row_stride + s * run.column_stride + from;
        prefetch_row(here);
        load_some(here, count, step, v);
        sum += v;
      }
    sum *= scale;
    store_some(sum, count, 1, y + to);
  });
}

template <class T>
void spread(const T* dy, const PoolRun& run, float scale, float* sum) {
  for_each_sixteen(run, [=](std::int64_t from, std::int64_t to, auto count, auto step) {
    F32x16 g, total;
    load_some(dy + to, count, 1, g);
    g *= scale;
    for (std::int64_t r = run.h.begin; r < run.h.end; ++r)
      for (std::int64_t s = run.w.begin; s < run.w.end; ++s) {
        float* here = sum + r * run.row_stride + s * run.column_stride + from;
        load_some(here, count, step, total);
        total += g;
        store_some(total, count, step, here);
      }
  });
}

}  // namespace

void average_pool_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  if (in[0].numel() == 0) return;
  const ImageSizes size = image_sizes(in[0].type, out[0].type);
  const Window2d window = pool_window("average_pool", ctx.attributes, in[0].shape());
  const bool include_pad = ctx.attributes.get_int("count_include_pad", 0) != 0;
  const std::int64_t y_plane = window.h.out * window.w.out * size.block;
  with_float_type(in[0].type.dtype, [&]<class T>() {
    for (std::int64_t plane = 0; plane < size.planes(); ++plane) {
      const T* x = in[0].as<T>() + plane * size.plane_size();
      T* y = out[0].as<T>() + plane * y_plane;
      for_each_pool_run(size, window, [&](const PoolRun& run) {
        average(x + run.first, run, one_over_cells(run, window, include_pad), y + run.to);
      });
    }
  });
}

std::unique_ptr<OpState> average_pool_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  return std::make_unique<PlaneOfSums>(out[0]);
}

void average_pool_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView& dy = in[2];  // in: x, y, dy
  if (!out[0] || out[0].numel() == 0) return;
  const ImageSizes size = image_sizes(out[0].type, dy.type);
  const Window2d window = pool_window("average_pool", ctx.attributes, out[0].shape());
  const bool include_pad = ctx.attributes.get_int("count_include_pad", 0) != 0;
  const std::int64_t y_plane = window.h.out * window.w.out * size.block;
  auto* workspace = reinterpret_cast<float*>(ctx.workspace.data());
  with_float_type(dy.type.dtype, [&]<class T>() {
    for (std::int64_t plane = 0; plane < size.planes(); ++plane) {
      const T* g = dy.as<T>() + plane * y_plane;
      sum_plane(out[0].as<T>() + plane * size.plane_size(), size.plane_size(), workspace,
                [&](float* sum) {
                  for_each_pool_run(size, window, [&](const PoolRun& run) {
                    spread(g + run.to, run, one_over_cells(run, window, include_pad),
                           sum + run.first);
                  });
                });
    }
  });
}

}  // namespace phalanx
