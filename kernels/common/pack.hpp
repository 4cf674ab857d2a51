// SPDX-License-Identifier: Apache-2.0
/// Elements of tensors as CUDA kernels read, compute and write them.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"
#include "simt/simt.hpp"

namespace phalanx {

/// Calls f.template operator()<T>() with the type of the element in a kernel: float or __nv_bfloat16.
/// Throws    Unsupported for another type.
template <class F>
decltype(auto) with_cuda_type(DType t, F&& f) {
  switch (t) {
    case DType::kF32: return f.template operator()<float>();
    case DType::kBf16: return f.template operator()<__nv_bfloat16>();
    default: throw Unsupported("expected a floating type, found " + std::string(name(t)));
  }
}

__device__ __forceinline__ float to_f32(float x) { return x; }
__device__ __forceinline__ float to_f32(__nv_bfloat16 x) { return __bfloat162float(x); }

/// x, rounded to nearest even.
template <class T>
__device__ __forceinline__ T from_f32(float x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return __float2bfloat16_rn(x);
}

/// Neighbouring elements that are read or written by one access of up to 16 bytes.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T v[kCount];
};

/// As many as fill 16 bytes.
template <class T>
inline constexpr int kPackElements = static_cast<int>(16 / sizeof(T));

template <class T, int kCount>
__device__ __forceinline__ void load(const T* from, float (&to)[kCount]) {
  const auto pack = *reinterpret_cast<const Pack<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = to_f32(pack.v[i]);
}
template <class T, int kCount>
__device__ __forceinline__ void store(const float (&from)[kCount], T* to) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.v[i] = from_f32<T>(from[i]);
  *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
}

inline bool is_aligned(const void* p, std::size_t bytes) noexcept {
  return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
}

}  // namespace phalanx
