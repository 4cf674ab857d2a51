// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/launch.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr std::int64_t kMostBlocks = 256;

struct Operands {
  const float* x;
  const long long* label;  // or null, and
  const float* target;
  std::int64_t rows;
  int outputs;
};

__device__ unsigned right_answers_of(const Operands& o, std::int64_t row, int lane) {
  const float* x = o.x + row * o.outputs;
  if (o.label == nullptr) {
    const float* target = o.target + row * o.outputs;
    unsigned count = 0;
    for (int c = lane; c < o.outputs; c += 32) count += (x[c] > 0.0f) == (target[c] > 0.5f);
    return count;
  }
  float largest = x[0];
  int at = 0;
  for (int c = lane; c < o.outputs; c += 32)
    if (x[c] > largest) largest = x[c], at = c;
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(~0u, largest, distance);
    const int there = __shfl_xor_sync(~0u, at, distance);
    if (other > largest || (other == largest && there < at)) largest = other, at = there;
  }
  return lane == 0 && at == o.label[row] ? 1 : 0;
}

/// Who       a warp takes every (warps of the grid)-th row, its lanes the outputs
/// Memory    one count per block, in global memory
/// Barriers  one, before the counts of the warps are added; integers, so that the order does not matter
/// Bound     by bytes
/// Sizes     fewer than 2^32 answers per block
__global__ void __launch_bounds__(kThreads)
    count_correct_forward_kernel(Operands o, unsigned* __restrict__ counts) {
  __shared__ unsigned of_warps[kWarps];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  unsigned count = 0;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp; row < o.rows;
       row += static_cast<std::int64_t>(gridDim.x) * kWarps)
    count += right_answers_of(o, row, lane);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    count += __shfl_xor_sync(~0u, count, distance);
  if (lane == 0) of_warps[warp] = count;
  __syncthreads();
  if (threadIdx.x != 0) return;
  count = 0;
  for (const unsigned part : of_warps) count += part;
  counts[blockIdx.x] = count;
}

/// Who       one thread
/// Memory    a few hundred counts
/// Barriers  none
/// Bound     by latency
/// Sizes     any
__global__ void count_correct_sum_kernel(const unsigned* __restrict__ counts, int blocks,
                                         float* __restrict__ y) {
  unsigned long long sum = 0;
  for (int b = 0; b < blocks; ++b) sum += counts[b];
  *y = static_cast<float>(sum);
}

int blocks_of(const Shape& x) {
  return static_cast<int>(std::min<std::int64_t>(kMostBlocks, blocks_for(x[0], kWarps)));
}

struct State final : OpState {
  std::size_t bytes = 0;
  std::size_t workspace_bytes() const noexcept override { return bytes; }
};

std::unique_ptr<OpState> prepare_forward(const PrepareArguments& given) {
  auto state = std::make_unique<State>();
  state->bytes = static_cast<std::size_t>(blocks_of(given.in[0].shape)) * sizeof(unsigned);
  return state;
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  const bool has_classes = in[1].type.dtype == DType::kI64;
  const Operands operands{.x = in[0].as<float>(),
                          .label = has_classes ? in[1].as<long long>() : nullptr,
                          .target = has_classes ? nullptr : in[1].as<float>(),
                          .rows = in[0].shape()[0],
                          .outputs = static_cast<int>(in[0].shape()[1])};
  const int blocks = blocks_of(in[0].shape());
  auto* counts = reinterpret_cast<unsigned*>(ctx.workspace.data());
  launch("count_correct_forward", count_correct_forward_kernel, static_cast<unsigned>(blocks),
         kThreads, 0, ctx.stream, operands, counts);
  launch("count_correct_sum", count_correct_sum_kernel, 1, 1, 0, ctx.stream, counts, blocks,
         out[0].as<float>());
}

}  // namespace

extern const DeviceKernels count_correct_cuda;
const DeviceKernels count_correct_cuda = {.forward = forward, .prepare_forward = prepare_forward};

}  // namespace phalanx
