// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/dtype.hpp"

namespace phalanx {

/// Sixteen numbers that are worked on at once: g++ and clang turn arithmetic, comparisons and `mask
/// ? a : b` on them into the widest instructions of the target. For inner loops over a channel
/// block of 16, which are too short for g++'s own vectoriser. Vectors are passed by reference: by
/// value, their ABI depends on the target.
inline constexpr std::int64_t kLanes = 16;
using F32x16 [[gnu::vector_size(64)]] = float;
using I32x16 [[gnu::vector_size(64)]] = std::int32_t;
using U32x16 [[gnu::vector_size(64)]] = std::uint32_t;
using U16x16 [[gnu::vector_size(32)]] = std::uint16_t;
using U8x16 [[gnu::vector_size(16)]] = std::uint8_t;

inline void load(const float* from, F32x16& to) noexcept { std::memcpy(&to, from, sizeof to); }
inline void load(const std::int32_t* from, I32x16& to) noexcept {
  std::memcpy(&to, from, sizeof to);
}
inline void load(const std::uint32_t* from, U32x16& to) noexcept {
  std::memcpy(&to, from, sizeof to);
}
inline void load(const std::uint8_t* from, I32x16& to) noexcept {
  U8x16 bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  to = __builtin_convertvector(bytes, I32x16);
}
inline void load(const Bf16* from, F32x16& to) noexcept {
  U16x16 halves;
  std::memcpy(&halves, from, sizeof halves);
  const U32x16 bits = __builtin_convertvector(halves, U32x16) << 16;
  std::memcpy(&to, &bits, sizeof to);
}

inline void store(const F32x16& from, float* to) noexcept { std::memcpy(to, &from, sizeof from); }
inline void store(const I32x16& from, std::int32_t* to) noexcept {
  std::memcpy(to, &from, sizeof from);
}
inline void store(const I32x16& from, std::uint8_t* to) noexcept {
  const U8x16 bytes = __builtin_convertvector(from, U8x16);
  std::memcpy(to, &bytes, sizeof bytes);
}
/// Rounds as Bf16 does.
inline void store(const F32x16& from, Bf16* to) noexcept {
  U32x16 bits;
  std::memcpy(&bits, &from, sizeof bits);
  const U32x16 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const U32x16 nan = (bits >> 16) | 0x40u;
  const U16x16 halves = __builtin_convertvector(from == from ? rounded : nan, U16x16);
  std::memcpy(static_cast<void*>(to), &halves, sizeof halves);
}

/// `count` of up to sixteen numbers, `step` elements apart; the other lanes are 0.
template <class Lanes, class T>
void load_some(const T* from, std::int64_t count, std::int64_t step, Lanes& to) noexcept {
  if (count == kLanes && step == 1) return load(from, to);
  to = Lanes{};
  for (std::int64_t i = 0; i < count; ++i)
    to[i] = static_cast<std::remove_reference_t<decltype(to[0])>>(from[i * step]);
}
template <class Lanes, class T>
void store_some(const Lanes& from, std::int64_t count, std::int64_t step, T* to) noexcept {
  if (count == kLanes && step == 1) return store(from, to);
  for (std::int64_t i = 0; i < count; ++i) to[i * step] = static_cast<T>(from[i]);
}

}  // namespace phalanx
