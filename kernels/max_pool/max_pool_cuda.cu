// SPDX-License-Identifier: Apache-2.0
#include "common/pool_cuda.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

/// Neighbouring cells, stored as u8 or i32.
template <class I, int kPack>
__device__ __forceinline__ void load_cells(const I* from, int (&to)[kPack]) {
  const auto pack = *reinterpret_cast<const Pack<I, kPack>*>(from);
#pragma unroll
  for (int k = 0; k < kPack; ++k) to[k] = static_cast<int>(pack.v[k]);
}
template <class I, int kPack>
__device__ __forceinline__ void store_cells(const int (&from)[kPack], I* to) {
  Pack<I, kPack> pack;
#pragma unroll
  for (int k = 0; k < kPack; ++k) pack.v[k] = static_cast<I>(from[k]);
  *reinterpret_cast<Pack<I, kPack>*>(to) = pack;
}

template <class T, class I>
struct MaxPool {
  T* y;
  I* argmax;

  template <int kPack>
  struct Window {
    float best[kPack];
    int cell[kPack];

    __device__ explicit Window(int first) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        best[k] = -INFINITY;
        cell[k] = first;
      }
    }
    /// The first of equal values wins, and the last NaN.
    __device__ void take(const float (&v)[kPack], int at) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        const bool better = v[k] > best[k] || v[k] != v[k];
        best[k] = better ? v[k] : best[k];
        cell[k] = better ? at : cell[k];
      }
    }
  };

  template <int kPack>
  __device__ void store(const PoolShape&, const PoolPlace&, std::int64_t at,
                        const Window<kPack>& window) const {
    phalanx::store(window.best, y + at);
    store_cells(window.cell, argmax + at);
  }
};

template <class T, class I>
struct MaxPoolGradient {
  const T* dy;
  const I* argmax;

  template <int kPack>
  __device__ void add(const PoolShape&, int, int, int cell, std::int64_t at,
                      float (&sum)[kPack]) const {
    float g[kPack];
    int chosen[kPack];
    load(dy + at, g);
    load_cells(argmax + at, chosen);
#pragma unroll
    for (int k = 0; k < kPack; ++k) sum[k] += chosen[k] == cell ? g[k] : 0.0f;
  }
};

/// Calls f with the types of values and of argmax.
template <class F>
void with_types(DType value, DType argmax, F f) {
  with_cuda_type(value, [&]<class T>() {
    if (argmax == DType::kU8)
      f.template operator()<T, std::uint8_t>();
    else
      f.template operator()<T, std::int32_t>();
  });
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  if (in[0].numel() == 0) return;
  const ImageSizes size = image_sizes(in[0].type, out[0].type);
  const Window2d window = pool_window("max_pool", ctx.attributes, in[0].shape());
  with_types(in[0].type.dtype, out[1].type.dtype, [&]<class T, class I>() {
    pool_forward("max_pool_forward", ctx.stream, size, window, in[0].as<T>(),
                 MaxPool<T, I>{out[0].as<T>(), out[1].as<I>()});
  });
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  // in: x, y, argmax, dy, dargmax; out: dx
  const ConstTensorView &argmax = in[2], &dy = in[3];
  if (!out[0] || out[0].numel() == 0) return;
  const ImageSizes size = image_sizes(out[0].type, dy.type);
  const Window2d window = pool_window("max_pool", ctx.attributes, out[0].shape());
  with_types(dy.type.dtype, argmax.type.dtype, [&]<class T, class I>() {
    pool_backward("max_pool_backward", ctx.stream, size, window, out[0].as<T>(),
                  MaxPoolGradient<T, I>{dy.as<T>(), argmax.as<I>()});
  });
}

}  // namespace

extern const DeviceKernels max_pool_cuda;
const DeviceKernels max_pool_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
