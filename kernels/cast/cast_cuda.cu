// SPDX-License-Identifier: Apache-2.0
#include "common/device_copy.hpp"
#include "common/pack.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;
constexpr int kPack =
    4;  // 16 bytes of f32, 8 of bf16: neighbouring threads read neighbouring bytes on both sides

/// Who       each thread takes kUnroll packs, a block's width apart, and the last threads the rest one by one
/// Memory    registers; each byte is read and written once
/// Barriers  none: to[i] depends on from[i], and on itself where it is added to
/// Bound     by bytes
/// Sizes     any; both sides aligned to 16 bytes
template <bool kAdds, class From, class To>
__global__ void __launch_bounds__(kThreads)
    cast_kernel(const From* from, To* to, std::int64_t count) {
  const std::int64_t packs = count / kPack;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads * kUnroll) + threadIdx.x;
  float x[kUnroll][kPack], sum[kUnroll][kPack];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t at = (first + u * kThreads) * kPack;
    if (at >= packs * kPack) continue;
    load(from + at, x[u]);
    if constexpr (kAdds) load(to + at, sum[u]);
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t at = (first + u * kThreads) * kPack;
    if (at >= packs * kPack) continue;
    if constexpr (kAdds) {
#pragma unroll
      for (int i = 0; i < kPack; ++i) x[u][i] += sum[u][i];
    }
    store(x[u], to + at);
  }
  const std::int64_t rest = packs * kPack + first;
  if (first >= kPack || rest >= count) return;
  float value = to_f32(from[rest]);
  if constexpr (kAdds) value += to_f32(to[rest]);
  to[rest] = from_f32<To>(value);
}

template <bool kAdds>
void convert(const char* name, OpContext& ctx, ConstTensorView from, TensorView to) {
  if (from.numel() == 0) return;
  const unsigned blocks = std::max(1u, blocks_for(from.numel() / kPack, kThreads * kUnroll));
  with_cuda_type(from.type.dtype, [&]<class From>() {
    with_cuda_type(to.type.dtype, [&]<class To>() {
      launch(name, cast_kernel<kAdds, From, To>, blocks, kThreads, 0, ctx.stream, from.as<From>(),
             to.as<To>(), from.numel());
    });
  });
}

void overwrite(const char* name, OpContext& ctx, ConstTensorView from, TensorView to) {
  if (from.type.dtype == to.type.dtype) return copy_on_device(ctx, from, to);
  convert<false>(name, ctx, from, to);
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  overwrite("cast_forward", ctx, in[0], out[0]);
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  if (ctx.adds_to(0))
    convert<true>("cast_backward_adding", ctx, in[2], out[0]);
  else
    overwrite("cast_backward", ctx, in[2], out[0]);
}

}  // namespace

extern const DeviceKernels cast_cuda;
const DeviceKernels cast_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
