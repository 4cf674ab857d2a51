// SPDX-License-Identifier: Apache-2.0
/// The keywords and built-in functions of CUDA C++ for the emulation.
#pragma once
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>

#include "simt/engine.hpp"
#include "simt/types.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
// One block at a time runs on an OS thread. AddressSanitizer puts red zones round plain statics only, so there all blocks
// run on one OS thread. constinit: without it g++ guards the initialisation of 16-bit floats, and the guard is a race.
#if defined(__SANITIZE_ADDRESS__)
#define __shared__ static constinit
#else
#define __shared__ static constinit thread_local
#endif

#define threadIdx (::simt::here->thread)
#define blockIdx (::simt::here->block)
#define blockDim (::simt::here->block_size)
#define gridDim (::simt::here->grid_size)
inline constexpr int warpSize = 32;

namespace simt {

// ---- Warp intrinsics: operands, and what is computed from those of all lanes ----

enum class Shuffle { kIndex, kUp, kDown, kXor };

template <class T>
struct ShuffleOperand {
  T value;
  int lane;  // or distance, or mask
  int width;
  T result;
};

/// The lane that `lane` reads; its own one where it would leave its segment.
constexpr int source_lane(Shuffle kind, int lane, int operand, int width) {
  const int begin = lane & ~(width - 1), end = begin + width;
  switch (kind) {
    case Shuffle::kIndex: return begin + (operand & (width - 1));
    case Shuffle::kUp: return operand <= lane - begin ? lane - operand : lane;
    case Shuffle::kDown: return operand < end - lane ? lane + operand : lane;
    case Shuffle::kXor: break;
  }
  return (lane ^ operand) < end ? lane ^ operand : lane;
}

template <class T, Shuffle kind>
void combine_shuffle(const Lanes& lanes) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!lanes.has(lane)) continue;
    auto& mine = lanes.at<ShuffleOperand<T>>(lane);
    if (mine.width < 1 || mine.width > 32 ||
        !std::has_single_bit(static_cast<unsigned>(mine.width))) {
      Lanes::refuse(lane, "a width of " + std::to_string(mine.width) +
                              "; a power of two up to 32 is possible");
    }
    const int operand = kind == Shuffle::kXor ? mine.lane & 31 : mine.lane;
    const int source = source_lane(kind, static_cast<int>(lane), operand, mine.width);
    if (!lanes.has(static_cast<unsigned>(source))) {
      Lanes::refuse(lane, "reads lane " + std::to_string(source) + ", which takes no part");
    }
    mine.result = lanes.at<ShuffleOperand<T>>(static_cast<unsigned>(source)).value;
  }
}

template <Shuffle kind, class T>
T shuffle(const char* name, unsigned mask, T value, int lane, int width, Site site) {
  ShuffleOperand<T> operand{value, lane, width, value};
  warp({.name = name, .mask = mask, .combine = combine_shuffle<T, kind>}, &operand, site);
  return operand.result;
}

template <class T, class Result>
struct ReduceOperand {
  T value;
  Result result;
};

struct Ballot {
  static unsigned first(unsigned lane, bool value) { return unsigned{value} << lane; }
  static unsigned next(unsigned sum, unsigned lane, bool value) {
    return sum | unsigned{value} << lane;
  }
};

/// Sums, extrema and bits: `next` says how one more value joins.
template <auto join>
struct Fold {
  template <class T>
  static T first(unsigned, T value) {
    return value;
  }
  template <class T>
  static T next(T sum, unsigned, T value) {
    return join(sum, value);
  }
};

template <class T, class Result, class Rule>
void combine_reduce(const Lanes& lanes) {
  using Operand = ReduceOperand<T, Result>;
  const auto first = static_cast<unsigned>(std::countr_zero(lanes.active));
  Result sum = Rule::first(first, lanes.at<Operand>(first).value);
  for (unsigned lane = first + 1; lane < 32; ++lane) {
    if (lanes.has(lane)) sum = Rule::next(sum, lane, lanes.at<Operand>(lane).value);
  }
  for (unsigned lane = first; lane < 32; ++lane) {
    if (lanes.has(lane)) lanes.at<Operand>(lane).result = sum;
  }
}

template <class Rule, class Result, class T>
Result reduce(const char* name, unsigned mask, T value, Site site) {
  ReduceOperand<T, Result> operand{value, {}};
  warp({.name = name, .mask = mask, .combine = combine_reduce<T, Result, Rule>}, &operand, site);
  return operand.result;
}

template <class T>
void combine_match(const Lanes& lanes) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!lanes.has(lane)) continue;
    auto& mine = lanes.at<ReduceOperand<T, unsigned>>(lane);
    for (unsigned other = 0; other < 32; ++other) {
      if (!lanes.has(other)) continue;
      const bool same = lanes.at<ReduceOperand<T, unsigned>>(other).value == mine.value;
      mine.result |= unsigned{same} << other;
    }
  }
}

// ---- Atomics ----

template <class T>
concept AtomicType = std::is_trivially_copyable_v<T> &&
    (sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);

/// *address = update(*address); what was there before. Relaxed, as CUDA's atomics are.
template <AtomicType T, class Update>
T atomic_update(T* address, Update update) {
  before_atomic(address);
  T before;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  T after = update(before);
  while (!__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
    after = update(before);
  }
  after_atomic(address);
  if (before == after) yield();  // the thread may be spinning until another one changes it
  return before;
}

}  // namespace simt

// ---- Synchronisation ----

inline void __syncthreads(simt::Site site = simt::Site::current()) {
  simt::barrier("__syncthreads", false, site);
}
inline int __syncthreads_count(int vote, simt::Site site = simt::Site::current()) {
  return static_cast<int>(simt::barrier("__syncthreads_count", vote != 0, site));
}
inline int __syncthreads_or(int vote, simt::Site site = simt::Site::current()) {
  return simt::barrier("__syncthreads_or", vote != 0, site) != 0;
}
inline int __syncthreads_and(int vote, simt::Site site = simt::Site::current()) {
  return simt::barrier("__syncthreads_and", vote == 0, site) == 0;
}
inline void __syncwarp(unsigned mask = ~0u, simt::Site site = simt::Site::current()) {
  simt::warp({.name = "__syncwarp", .mask = mask, .orders_memory = true}, nullptr, site);
}
inline void __threadfence() { simt::fence(); }
inline void __threadfence_block() { simt::fence(); }
inline void __threadfence_system() { simt::fence(); }
inline void __nanosleep(unsigned) { simt::yield(); }
[[noreturn]] inline void __trap(simt::Site site = simt::Site::current()) {
  simt::fail("__trap", site);
}
inline unsigned __activemask() { return simt::live_lanes(); }

// ---- Shuffles, votes and reductions of a warp ----

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              simt::Site site = simt::Site::current()) {
  return simt::shuffle<simt::Shuffle::kIndex>("__shfl_sync", mask, value, lane, width, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 simt::Site site = simt::Site::current()) {
  const int lanes = distance < 32 ? static_cast<int>(distance) : 32;
  return simt::shuffle<simt::Shuffle::kUp>("__shfl_up_sync", mask, value, lanes, width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   simt::Site site = simt::Site::current()) {
  const int lanes = distance < 32 ? static_cast<int>(distance) : 32;
  return simt::shuffle<simt::Shuffle::kDown>("__shfl_down_sync", mask, value, lanes, width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  simt::Site site = simt::Site::current()) {
  return simt::shuffle<simt::Shuffle::kXor>("__shfl_xor_sync", mask, value, lane_mask, width, site);
}

inline unsigned __ballot_sync(unsigned mask, int vote, simt::Site site = simt::Site::current()) {
  return simt::reduce<simt::Ballot, unsigned>("__ballot_sync", mask, vote != 0, site);
}
inline int __any_sync(unsigned mask, int vote, simt::Site site = simt::Site::current()) {
  return simt::reduce<simt::Ballot, unsigned>("__any_sync", mask, vote != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int vote, simt::Site site = simt::Site::current()) {
  return simt::reduce<simt::Ballot, unsigned>("__all_sync", mask, vote == 0, site) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, simt::Site site = simt::Site::current()) {
  simt::ReduceOperand<T, unsigned> operand{value, 0};
  simt::warp({.name = "__match_any_sync", .mask = mask, .combine = simt::combine_match<T>},
             &operand, site);
  return operand.result;
}

template <std::integral T>
T __reduce_add_sync(unsigned mask, T value, simt::Site site = simt::Site::current()) {
  using Rule = simt::Fold<[](T a, T b) {
    return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
  }>;
  return simt::reduce<Rule, T>("__reduce_add_sync", mask, value, site);
}
template <std::integral T>
T __reduce_min_sync(unsigned mask, T value, simt::Site site = simt::Site::current()) {
  return simt::reduce<simt::Fold<[](T a, T b) { return b < a ? b : a; }>, T>("__reduce_min_sync",
                                                                             mask, value, site);
}
template <std::integral T>
T __reduce_max_sync(unsigned mask, T value, simt::Site site = simt::Site::current()) {
  return simt::reduce<simt::Fold<[](T a, T b) { return a < b ? b : a; }>, T>("__reduce_max_sync",
                                                                             mask, value, site);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value,
                                  simt::Site site = simt::Site::current()) {
  using Rule = simt::Fold<[](unsigned a, unsigned b) { return a & b; }>;
  return simt::reduce<Rule, unsigned>("__reduce_and_sync", mask, value, site);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value,
                                 simt::Site site = simt::Site::current()) {
  using Rule = simt::Fold<[](unsigned a, unsigned b) { return a | b; }>;
  return simt::reduce<Rule, unsigned>("__reduce_or_sync", mask, value, site);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value,
                                  simt::Site site = simt::Site::current()) {
  using Rule = simt::Fold<[](unsigned a, unsigned b) { return a ^ b; }>;
  return simt::reduce<Rule, unsigned>("__reduce_xor_sync", mask, value, site);
}

// ---- Atomics of the device ----

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T old) { return static_cast<T>(old - value); });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T) { return value; });
}
template <std::integral T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T old) { return value < old ? value : old; });
}
template <std::integral T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T old) { return old < value ? value : old; });
}
template <std::integral T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T old) { return old & value; });
}
template <std::integral T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T old) { return old | value; });
}
template <std::integral T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [value](T old) { return old ^ value; });
}
inline unsigned atomicInc(unsigned* address, unsigned last) {
  return simt::atomic_update(address, [last](unsigned old) { return old >= last ? 0 : old + 1; });
}
inline unsigned atomicDec(unsigned* address, unsigned last) {
  return simt::atomic_update(
      address, [last](unsigned old) { return old == 0 || old > last ? last : old - 1; });
}
template <std::integral T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return simt::atomic_update(address, [=](T old) { return old == expected ? value : old; });
}

// ---- Loads and stores with a hint ----

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <class T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}

// ---- Arithmetic: exact where the GPU approximates, so a test's tolerance must allow for the GPU ----

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __exp10f(float x) { return std::pow(10.0f, x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __log10f(float x) { return std::log10(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __tanf(float x) { return std::tan(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.0f / std::sqrt(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1) << (31 - bit);
  return reversed;
}

template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(b) < static_cast<C>(a) ? static_cast<C>(b) : static_cast<C>(a);
}
template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(b) : static_cast<C>(a);
}
