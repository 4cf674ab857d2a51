// SPDX-License-Identifier: Apache-2.0
/// A BroadcastWalk as CUDA kernels follow it: from the place of an element to the offsets of what broadcasting pairs with it.
#pragma once

#include <type_traits>

#include "common/broadcast_walk.hpp"
#include "common/divisor.hpp"
#include "common/pack.hpp"

namespace phalanx::binary {

inline constexpr int kThreads = 256;

/// Offsets, or distances between neighbours along an axis: in y, in the two operands that are read, and in a gradient.
struct Offsets {
  std::int64_t y = 0, p = 0, q = 0, t = 0;

  __device__ void add(const Offsets& o, std::int64_t times) {
    y += times * o.y, p += times * o.p, q += times * o.q, t += times * o.t;
  }
};

/// Axes whose places are counted through, the last one fastest.
struct Places {
  struct Axis {
    Divisor size;
    Offsets step;
  };
  Axis axes[BroadcastWalk::kMaxAxes];
  int count = 0;
  std::int64_t number = 1;  // of places

  void add(std::int64_t size, const Offsets& step) {
    axes[count++] = {Divisor(size), step};
    number *= size;
  }
};

/// What lies at a place, beside what lies at place 0. Of no axis there is one place.
__device__ __forceinline__ void find(const Places& places, std::int64_t number, Offsets& at) {
  auto place = static_cast<std::uint64_t>(number);
  for (int axis = places.count - 1; axis > 0; --axis)
    at.add(places.axes[axis].step, places.axes[axis].size.take(place));
  at.add(places.axes[0].step, static_cast<std::int64_t>(place));
}

// --- operands

/// In the place of a type: that of an operand which is not read, and of one whose type is known at run time only.
struct Nothing {};
struct Any {};

template <class T>
struct In {
  const T* data;
  /// kPack elements along the innermost axis, `stride` apart.
  template <int kPack>
  __device__ void read(std::int64_t at, std::int64_t stride, float (&to)[kPack]) const {
    if (stride == 1) {
      load(data + at, to);
    } else if (stride == 0) {
      const float value = to_f32(data[at]);
#pragma unroll
      for (int i = 0; i < kPack; ++i) to[i] = value;
    } else {
#pragma unroll
      for (int i = 0; i < kPack; ++i) to[i] = to_f32(data[at + i * stride]);
    }
  }
};
template <>
struct In<Any> {
  const void* data;
  bool is_bf16;
  __device__ void read(std::int64_t at, std::int64_t, float (&to)[1]) const {
    to[0] = is_bf16 ? to_f32(static_cast<const __nv_bfloat16*>(data)[at])
                    : static_cast<const float*>(data)[at];
  }
};
template <>
struct In<Nothing> {
  template <int kPack>
  __device__ void read(std::int64_t, std::int64_t, float (&to)[kPack]) const {
#pragma unroll
    for (int i = 0; i < kPack; ++i) to[i] = 0.0f;
  }
};

template <class T>
struct Out {
  T* data;
  template <int kPack>
  __device__ void write(std::int64_t at, float (&value)[kPack], bool adds) const {
    if (adds) {
      float sum[kPack];
      load(data + at, sum);
#pragma unroll
      for (int i = 0; i < kPack; ++i) value[i] += sum[i];
    }
    store(value, data + at);
  }
};
template <>
struct Out<Any> {
  void* data;
  bool is_bf16;
  __device__ void write(std::int64_t at, float (&value)[1], bool adds) const {
    if (is_bf16)
      Out<__nv_bfloat16>{static_cast<__nv_bfloat16*>(data)}.write(at, value, adds);
    else
      Out<float>{static_cast<float*>(data)}.write(at, value, adds);
  }
};

template <class T>
In<T> in_of(const ConstTensorView& v) noexcept {
  if constexpr (std::is_same_v<T, Nothing>)
    return {};
  else if constexpr (std::is_same_v<T, Any>)
    return {v.data, v.type.dtype == DType::kBf16};
  else
    return {v.as<T>()};
}
template <class T>
Out<T> out_of(const TensorView& v) noexcept {
  if constexpr (std::is_same_v<T, Any>)
    return {v.data, v.type.dtype == DType::kBf16};
  else
    return {v.as<T>()};
}

/// Elements that are read as one: as many as fill 16 bytes of the largest type. Where they do not come in packs, one by one.
template <class... Types>
inline constexpr int kPackOf = (std::is_same_v<Types, Any> || ...) ? 1
                               : ((sizeof(Types) == 4) || ...)     ? 4
                                                                   : 8;

/// Whether all that a thread takes as one lies in one run, at aligned places. Bit k of `reads` stands for operand k, of which
/// the other does not matter.
inline bool comes_in_packs(const BroadcastWalk& walk, int pack, unsigned reads) {
  if (walk.inner().size % pack != 0) return false;
  const bool a_in_runs = (reads & 1u) != 0 && walk.inner().a == 1,
             b_in_runs = (reads & 2u) != 0 && walk.inner().b == 1;
  for (int i = 0; i + 1 < walk.count; ++i)
    if ((a_in_runs && walk.axes[i].a % pack != 0) || (b_in_runs && walk.axes[i].b % pack != 0))
      return false;
  return true;
}

}  // namespace phalanx::binary
