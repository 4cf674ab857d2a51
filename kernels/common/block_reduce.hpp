// SPDX-License-Identifier: Apache-2.0
/// What the threads of a warp or a block hold becomes one value, in every one of them and in an order that depends on nothing.
#pragma once

#include "simt/simt.hpp"

namespace phalanx {

struct Sum {
  template <class T>
  __device__ static T join(T a, T b) {
    return a + b;
  }
};
/// A NaN beside a number is lost, as it is by fmaxf.
struct Largest {
  __device__ static float join(float a, float b) { return fmaxf(a, b); }
};

__device__ __forceinline__ float from_lane(float v, int lane_xor) {
  return __shfl_xor_sync(~0u, v, lane_xor);
}
__device__ __forceinline__ double from_lane(double v, int lane_xor) {
  return __shfl_xor_sync(~0u, v, lane_xor);
}

/// Over each `lanes` neighbouring lanes, a power of two up to 32. All lanes of the warp must call it.
template <class Join, class T>
__device__ __forceinline__ T join_lanes(T v, int lanes = 32) {
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    v = Join::join(v, from_lane(v, distance));
  return v;
}

/// Over a block of kWarps warps, a power of two. `shared` has room for kWarps values and may be used again at once. Also a
/// barrier: what threads read before it, others may write behind it.
template <class Join, int kWarps, class T>
__device__ T join_block(T v, T* shared) {
  static_assert(kWarps > 0 && kWarps <= 32 && (kWarps & (kWarps - 1)) == 0);
  v = join_lanes<Join>(v);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
  __syncthreads();
  v = join_lanes<Join>(shared[threadIdx.x % kWarps], kWarps);
  __syncthreads();
  return v;
}

}  // namespace phalanx
