// SPDX-License-Identifier: Apache-2.0
/// Sums over a whole tensor in double: each block leaves its part in the workspace, and one more block adds the parts. A
/// grid of one block needs no second launch.
#pragma once

#include <algorithm>

#include "common/block_reduce.hpp"
#include "common/launch.hpp"
#include "common/scratch.hpp"

namespace phalanx {

/// Blocks of a grid that sums: enough to fill a large GPU. Their number depends on shapes only, so that results do not
/// depend on the device.
inline constexpr unsigned kMostSumBlocks = 1024;
inline constexpr int kSumThreads = 256;

/// Where sums go: *out[k] = scale[k] * sum k.
template <int kSums>
struct SumOutputs {
  float* out[kSums];
  double scale[kSums];

  __device__ void put(const double (&sums)[kSums]) const {
#pragma unroll
    for (int k = 0; k < kSums; ++k) *out[k] = static_cast<float>(sums[k] * scale[k]);
  }
};

/// Adds what the kThreads threads of a block hold, and leaves it in partials [kSums, blocks], or in the outputs if there is no
/// other block. The grid is one-dimensional. `shared` [kThreads / 32].
template <int kThreads, int kSums>
__device__ void finish_sums(double (&sums)[kSums], double* shared, double* partials,
                            const SumOutputs<kSums>& outputs) {
#pragma unroll
  for (int k = 0; k < kSums; ++k) sums[k] = join_block<Sum, kThreads / 32>(sums[k], shared);
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) return outputs.put(sums);
#pragma unroll
  for (int k = 0; k < kSums; ++k) partials[k * gridDim.x + blockIdx.x] = sums[k];
}

/// Who       one block; each thread every kSumThreads-th partial sum
/// Memory    one double per warp in shared memory
/// Barriers  those of join_block
/// Bound     by latency
/// Sizes     any number of blocks
template <int kSums>
__global__ void __launch_bounds__(kSumThreads)
    add_partial_sums_kernel(const double* __restrict__ partials, unsigned blocks,
                            SumOutputs<kSums> outputs) {
  __shared__ double shared[kSumThreads / 32];
  double sums[kSums] = {};
#pragma unroll
  for (int k = 0; k < kSums; ++k)
    for (unsigned b = threadIdx.x; b < blocks; b += kSumThreads)
      sums[k] += partials[k * blocks + b];
  finish_sums<kSumThreads>(sums, shared, nullptr, outputs);
}

/// Behind a kernel of `blocks` blocks that ended with finish_sums; with no blocks the sums are 0.
template <int kSums>
void add_partial_sums(const char* name, OpContext& ctx, unsigned blocks,
                      const SumOutputs<kSums>& outputs) {
  if (blocks == 1) return;
  launch(name, add_partial_sums_kernel<kSums>, 1, kSumThreads, 0, ctx.stream,
         reinterpret_cast<const double*>(ctx.workspace.data()), blocks, outputs);
}

inline std::unique_ptr<OpState> partial_sums_state(unsigned blocks, int sums) {
  return std::make_unique<Scratch>(blocks > 1 ? sizeof(double) * blocks * sums : 0);
}

}  // namespace phalanx
