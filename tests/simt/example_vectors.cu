// SPDX-License-Identifier: Apache-2.0
#include "simt/examples.hpp"

namespace phalanx::simt_examples {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    scaled_add_kernel(const float* __restrict__ x, float* __restrict__ y, float a, int n) {
  const int stride = static_cast<int>(gridDim.x) * kThreads;
  const int first = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  for (int i = first; i < n / 4; i += stride) {
    const float4 in = __ldg(reinterpret_cast<const float4*>(x) + i);
    float4 out = reinterpret_cast<float4*>(y)[i];
    out.x += a * in.x;
    out.y += a * in.y;
    out.z += a * in.z;
    out.w += a * in.w;
    reinterpret_cast<float4*>(y)[i] = out;
  }
  const int rest = n / 4 * 4 + first;
  if (rest < n) y[rest] += a * x[rest];
}

__device__ float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value += __shfl_xor_sync(~0u, value, distance);
  return value;
}

/// One block sums one row: each thread its columns, each warp its threads, the first warp the warps.
__global__ void __launch_bounds__(kThreads)
    row_sums_kernel(const float* __restrict__ x, float* sums, int columns) {
  __shared__ float of_warps[kThreads / 32];
  const float* row = x + static_cast<size_t>(blockIdx.x) * columns;
  float sum = 0.0f;
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += kThreads) sum += row[i];
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = warp_sum(threadIdx.x < kThreads / 32 ? of_warps[threadIdx.x] : 0.0f);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  }
}

}  // namespace

void scaled_add(const float* x, float* y, float a, int n, cudaStream_t stream) {
  const int blocks = n < 64 * 4 * kThreads ? (n + 4 * kThreads - 1) / (4 * kThreads) : 64;
  if (n > 0) simt::launch(scaled_add_kernel, blocks, kThreads, 0, stream, x, y, a, n);
}

void row_sums(const float* x, float* sums, int rows, int columns, cudaStream_t stream) {
  if (rows > 0) simt::launch(row_sums_kernel, rows, kThreads, 0, stream, x, sums, columns);
}

}  // namespace phalanx::simt_examples
