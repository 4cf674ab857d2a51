// SPDX-License-Identifier: Apache-2.0
/// Losses that compare x with a target element by element, on a GPU.
#pragma once

#include "common/loss_scale.hpp"
#include "common/pack.hpp"
#include "common/partial_sums.hpp"

namespace phalanx {

/// Accesses that a thread has under way at once.
inline constexpr int kLossUnroll = 4;

/// Who       a thread takes kLossUnroll packs of four elements at a time, a grid's width apart; the last threads the rest
///           one by one
/// Memory    registers, and one double per warp in shared memory; each byte is read once. f32 within kLossUnroll packs, double
///           beyond
/// Barriers  those of finish_sums
/// Bound     by bytes
/// Sizes     any; operands are aligned to 16 bytes
template <class F>
__global__ void __launch_bounds__(kSumThreads)
    loss_forward_kernel(const float* __restrict__ x, const float* __restrict__ target,
                        std::int64_t count, F value, double* partials, SumOutputs<1> outputs) {
  __shared__ double shared[kSumThreads / 32];
  constexpr int kPack = kPackElements<float>;
  const std::int64_t packs = count / kPack,
                     width = static_cast<std::int64_t>(gridDim.x) * kSumThreads,
                     thread = static_cast<std::int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
  double sums[1] = {};
  for (std::int64_t first = thread; first < packs; first += kLossUnroll * width) {
    float a[kLossUnroll][kPack], b[kLossUnroll][kPack];
#pragma unroll
    for (int u = 0; u < kLossUnroll; ++u) {
      const std::int64_t at = (first + u * width) * kPack;
      if (first + u * width >= packs) continue;
      load(x + at, a[u]);
      load(target + at, b[u]);
    }
    float part = 0.0f;
#pragma unroll
    for (int u = 0; u < kLossUnroll; ++u) {
      if (first + u * width >= packs) continue;
#pragma unroll
      for (int i = 0; i < kPack; ++i) part += value(a[u][i], b[u][i]);
    }
    sums[0] += static_cast<double>(part);
  }
  const std::int64_t rest = packs * kPack + thread;
  if (rest < count) sums[0] += static_cast<double>(value(x[rest], target[rest]));
  finish_sums<kSumThreads>(sums, shared, partials, outputs);
}

inline unsigned loss_blocks(std::int64_t count) {
  constexpr std::int64_t kOfBlock = std::int64_t{kSumThreads} * kLossUnroll * kPackElements<float>;
  return std::min(kMostSumBlocks, blocks_for(count, kOfBlock));
}

inline std::unique_ptr<OpState> loss_prepare_on_device(const PrepareArguments& given) {
  return partial_sums_state(loss_blocks(given.in[0].shape.numel()), 1);
}

/// loss = scale * sum of value(x, target).
template <class F>
void loss_forward_on_device(const char* name, OpContext& ctx, Inputs in, Outputs out, F value) {
  const std::int64_t count = in[0].numel();
  const unsigned blocks = loss_blocks(count);
  const SumOutputs<1> outputs{{out[0].as<float>()}, {loss_scale(ctx.attributes, in[0].shape())}};
  launch(name, loss_forward_kernel<F>, blocks, kSumThreads, 0, ctx.stream, in[0].as<float>(),
         in[1].as<float>(), count, value, reinterpret_cast<double*>(ctx.workspace.data()), outputs);
  add_partial_sums(name, ctx, blocks, outputs);
}

/// Who       each thread takes kLossUnroll packs of four elements, a block's width apart, and the last threads the rest one
///           by one
/// Memory    registers; each byte is read and written once
/// Barriers  none
/// Bound     by bytes
/// Sizes     any; operands are aligned to 16 bytes
template <class F>
__global__ void __launch_bounds__(kSumThreads)
    loss_backward_kernel(const float* __restrict__ x, const float* __restrict__ target,
                         std::int64_t count, F slope, const float* __restrict__ dloss, float scale,
                         float* __restrict__ dx) {
  constexpr int kPack = kPackElements<float>;
  const std::int64_t packs = count / kPack;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kSumThreads * kLossUnroll) + threadIdx.x;
  float a[kLossUnroll][kPack], b[kLossUnroll][kPack];
#pragma unroll
  for (int u = 0; u < kLossUnroll; ++u) {
    const std::int64_t at = first + u * kSumThreads;
    if (at >= packs) continue;
    load(x + at * kPack, a[u]);
    load(target + at * kPack, b[u]);
  }
  const float factor = *dloss * scale;
#pragma unroll
  for (int u = 0; u < kLossUnroll; ++u) {
    const std::int64_t at = first + u * kSumThreads;
    if (at >= packs) break;
#pragma unroll
    for (int i = 0; i < kPack; ++i) a[u][i] = factor * slope(a[u][i], b[u][i]);
    store(a[u], dx + at * kPack);
  }
  const std::int64_t rest = packs * kPack + first;
  if (first < kPack && rest < count) dx[rest] = factor * slope(x[rest], target[rest]);
}

/// dx = dloss * scale * slope(x, target).
template <class F>
void loss_backward_on_device(const char* name, OpContext& ctx, Inputs in, Outputs out, F slope) {
  const std::int64_t count = in[0].numel();
  const auto scale = static_cast<float>(loss_scale(ctx.attributes, in[0].shape()));
  launch(name, loss_backward_kernel<F>,
         blocks_for(count, std::int64_t{kSumThreads} * kLossUnroll * kPackElements<float>),
         kSumThreads, 0, ctx.stream, in[0].as<float>(), in[1].as<float>(), count, slope,
         in[3].as<float>(), scale, out[0].as<float>());
}

}  // namespace phalanx
