// SPDX-License-Identifier: Apache-2.0
/// The CUDA kernel of an optimizer step over a slice of the parameter arena.
#pragma once

#include <cmath>

#include "common/launch.hpp"
#include "common/pack.hpp"
#include "op/op.hpp"

namespace phalanx {

inline constexpr int kOptimizerThreads = 256;
inline constexpr int kOptimizerPack = 4;

template <int kStates>
struct OptimizerSlices {
  float* w;
  const float* g;
  float* state[kStates > 0 ? kStates : 1];
  __nv_bfloat16* copy;  // null: there is none
  const float* hyper;
  std::int64_t count;
};

/// kCount neighbouring elements; `step` is a step with its constants, of which gradient_scale is one.
template <int kStates, int kCount, class Step>
__device__ __forceinline__ void update_weights(const OptimizerSlices<kStates>& slices,
                                               const Step& step, std::int64_t at) {
  float w[kCount], g[kCount], state[kStates > 0 ? kStates : 1][kCount];
  load(slices.w + at, w);
  load(slices.g + at, g);
#pragma unroll
  for (int s = 0; s < kStates; ++s) load(slices.state[s] + at, state[s]);
  if (std::isnan(step.gradient_scale)) return;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    float of_element[kStates > 0 ? kStates : 1];
#pragma unroll
    for (int s = 0; s < kStates; ++s) of_element[s] = state[s][i];
    w[i] = step(w[i], g[i], of_element);
#pragma unroll
    for (int s = 0; s < kStates; ++s) state[s][i] = of_element[s];
  }
  store(w, slices.w + at);
#pragma unroll
  for (int s = 0; s < kStates; ++s) store(state[s], slices.state[s] + at);
  if (slices.copy != nullptr) store(w, slices.copy + at);
}

/// Each thread reads gradient_scale, beside what it will update, so that all skip a step or none.
///
/// Who       each thread takes four elements; the last threads the rest one by one
/// Memory    registers; each byte is read and written once
/// Barriers  none
/// Bound     by bytes; 12 to 30 for an element
/// Sizes     any; slices begin at multiples of 16 elements
template <int kStates, class Step>
__global__ void __launch_bounds__(kOptimizerThreads)
    optimizer_step_kernel(OptimizerSlices<kStates> slices, Step given) {
  const Step step = given.with_constants(slices.hyper);
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kOptimizerThreads + threadIdx.x;
  const std::int64_t packs = slices.count / kOptimizerPack;
  if (i < packs)
    update_weights<kStates, kOptimizerPack>(slices, step, i * kOptimizerPack);
  else if (i < packs + slices.count % kOptimizerPack)
    update_weights<kStates, 1>(slices, step, packs * kOptimizerPack + (i - packs));
}

template <int kStates, class Step>
void launch_optimizer_step(const char* name, const OpContext& ctx,
                           const OptimizerSlices<kStates>& slices, Step step) {
  launch(
      name, optimizer_step_kernel<kStates, Step>,
      blocks_for(slices.count / kOptimizerPack + slices.count % kOptimizerPack, kOptimizerThreads),
      kOptimizerThreads, 0, ctx.stream, slices, step);
}

}  // namespace phalanx
