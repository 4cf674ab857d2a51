// SPDX-License-Identifier: Apache-2.0
/// Kernels that compute each element from the elements at the same place of other tensors.
#pragma once

#include <algorithm>

#include "common/launch.hpp"
#include "common/pack.hpp"
#include "op/op.hpp"

namespace phalanx {

inline constexpr int kMapThreads = 256;
/// Accesses that a thread has under way at once: enough to hide the latency of memory.
inline constexpr int kMapUnroll = 4;

template <class T, int kInputs>
struct MapOperands {
  const T* in[kInputs];
  T* out;
  std::int64_t count;
};

/// Who       each thread takes kMapUnroll packs of 16 bytes, a block's width apart, and the last threads the rest one by one
/// Memory    registers; each byte is read and written once
/// Barriers  none: out[i] depends on in[.][i] only, so that it may be in the memory of an input
/// Bound     by bytes
/// Sizes     any; operands are aligned to 16 bytes
template <int kInputs, class T, class F>
__global__ void __launch_bounds__(kMapThreads) map_kernel(MapOperands<T, kInputs> operands, F f) {
  constexpr int kPack = kPackElements<T>;
  const std::int64_t packs = operands.count / kPack;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kMapThreads * kMapUnroll) + threadIdx.x;
  float x[kMapUnroll][kInputs][kPack];
#pragma unroll
  for (int u = 0; u < kMapUnroll; ++u) {
    const std::int64_t at = first + u * kMapThreads;
#pragma unroll
    for (int k = 0; k < kInputs; ++k)
      if (at < packs) load(operands.in[k] + at * kPack, x[u][k]);
  }
#pragma unroll
  for (int u = 0; u < kMapUnroll; ++u) {
    const std::int64_t at = first + u * kMapThreads;
    if (at >= packs) break;
    float y[kPack];
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      if constexpr (kInputs == 1)
        y[i] = f(x[u][0][i]);
      else
        y[i] = f(x[u][0][i], x[u][1][i]);
    }
    store(y, operands.out + at * kPack);
  }
  const std::int64_t rest = packs * kPack + first;
  if (first < kPack && rest < operands.count) {
    if constexpr (kInputs == 1)
      operands.out[rest] = from_f32<T>(f(to_f32(operands.in[0][rest])));
    else
      operands.out[rest] =
          from_f32<T>(f(to_f32(operands.in[0][rest]), to_f32(operands.in[1][rest])));
  }
}

template <class T>
unsigned map_blocks(std::int64_t count) {
  const std::int64_t packs = count / kPackElements<T>;
  return count == 0 ? 0 : std::max(1u, blocks_for(packs, kMapThreads * kMapUnroll));
}

/// y[i] = f(x[i]) in f32; y may be x. F is a function object that the device can call, no lambda.
template <class F>
void map_unary(const char* name, BackendStream& queue, ConstTensorView x, TensorView y, F f) {
  with_cuda_type(x.type.dtype, [&]<class T>() {
    const MapOperands<T, 1> operands{{x.as<T>()}, y.as<T>(), x.numel()};
    launch(name, map_kernel<1, T, F>, map_blocks<T>(x.numel()), kMapThreads, 0, queue, operands, f);
  });
}
template <class F>
void map_unary(const char* name, OpContext& ctx, ConstTensorView x, TensorView y, F f) {
  map_unary(name, backend_stream(ctx.stream), x, y, f);
}

/// y[i] = f(a[i], b[i]) in f32, all of one type; y may be a or b.
template <class F>
void map_binary(const char* name, OpContext& ctx, ConstTensorView a, ConstTensorView b,
                TensorView y, F f) {
  with_cuda_type(a.type.dtype, [&]<class T>() {
    const MapOperands<T, 2> operands{{a.as<T>(), b.as<T>()}, y.as<T>(), a.numel()};
    launch(name, map_kernel<2, T, F>, map_blocks<T>(a.numel()), kMapThreads, 0, ctx.stream,
           operands, f);
  });
}

}  // namespace phalanx
