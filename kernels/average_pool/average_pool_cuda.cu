// SPDX-License-Identifier: Apache-2.0
#include "common/pool_cuda.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

__device__ float one_over_cells(const PoolShape& shape, int p, int q, bool include_pad) {
  const PoolRange rows = include_pad ? shape.h.padded_cells(p) : shape.h.cells(p),
                  columns = include_pad ? shape.w.padded_cells(q) : shape.w.cells(q);
  return 1.0f / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
}

template <class T>
struct AveragePool {
  T* y;
  bool include_pad;

  template <int kPack>
  struct Window {
    float sum[kPack] = {};
    __device__ explicit Window(int) {}
    __device__ void take(const float (&v)[kPack], int) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) sum[k] += v[k];
    }
  };

  template <int kPack>
  __device__ void store(const PoolShape& shape, const PoolPlace& place, std::int64_t at,
                        Window<kPack>& window) const {
    const float scale = one_over_cells(shape, place.h, place.w, include_pad);
#pragma unroll
    for (int k = 0; k < kPack; ++k) window.sum[k] *= scale;
    phalanx::store(window.sum, y + at);
  }
};

template <class T>
struct AveragePoolGradient {
  const T* dy;
  bool include_pad;

  template <int kPack>
  __device__ void add(const PoolShape& shape, int p, int q, int, std::int64_t at,
                      float (&sum)[kPack]) const {
    float g[kPack];
    load(dy + at, g);
    const float scale = one_over_cells(shape, p, q, include_pad);
#pragma unroll
    for (int k = 0; k < kPack; ++k) sum[k] += g[k] * scale;
  }
};

bool include_pad(const OpContext& ctx) {
  return ctx.attributes.get_int("count_include_pad", 0) != 0;
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  if (in[0].numel() == 0) return;
  const ImageSizes size = image_sizes(in[0].type, out[0].type);
  const Window2d window = pool_window("average_pool", ctx.attributes, in[0].shape());
  with_cuda_type(in[0].type.dtype, [&]<class T>() {
    pool_forward("average_pool_forward", ctx.stream, size, window, in[0].as<T>(),
                 AveragePool<T>{out[0].as<T>(), include_pad(ctx)});
  });
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView& dy = in[2];  // in: x, y, dy
  if (!out[0] || out[0].numel() == 0) return;
  const ImageSizes size = image_sizes(out[0].type, dy.type);
  const Window2d window = pool_window("average_pool", ctx.attributes, out[0].shape());
  with_cuda_type(dy.type.dtype, [&]<class T>() {
    pool_backward("average_pool_backward", ctx.stream, size, window, out[0].as<T>(),
                  AveragePoolGradient<T>{dy.as<T>(), include_pad(ctx)});
  });
}

}  // namespace

extern const DeviceKernels average_pool_cuda;
const DeviceKernels average_pool_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
