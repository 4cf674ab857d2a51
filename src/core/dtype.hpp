// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace phalanx {

/// Element types of tensors.
enum class DType : std::uint8_t { kF32, kBf16, kI64, kI32, kU8 };

constexpr std::size_t size_bytes(DType t) noexcept {
  switch (t) {
    case DType::kF32: return 4;
    case DType::kBf16: return 2;
    case DType::kI64: return 8;
    case DType::kI32: return 4;
    case DType::kU8: return 1;
  }
  return 0;
}

constexpr std::string_view name(DType t) noexcept {
  switch (t) {
    case DType::kF32: return "f32";
    case DType::kBf16: return "bf16";
    case DType::kI64: return "i64";
    case DType::kI32: return "i32";
    case DType::kU8: return "u8";
  }
  return "?";
}

/// How values of several ranks or shards become one.
enum class ReduceOp : std::uint8_t { kSum, kMax, kMin };

constexpr bool is_float(DType t) noexcept { return t == DType::kF32 || t == DType::kBf16; }

/// Brain floating point: the upper half of an f32. Conversion from f32 rounds to nearest even; NaN stays NaN.
struct Bf16 {
  std::uint16_t bits = 0;

  Bf16() = default;
  explicit Bf16(float value) noexcept {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(is_nan ? ((u >> 16) | 0x40u) : rounded);
  }
  explicit operator float() const noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};
static_assert(sizeof(Bf16) == 2);

template <class T>
constexpr DType dtype_of = DType::kF32;
template <>
inline constexpr DType dtype_of<Bf16> = DType::kBf16;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::kI64;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::kI32;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::kU8;

/// Calls `f.template operator()<T>()` with T = float or Bf16.
/// Throws    Unsupported for another type.
template <class F>
decltype(auto) with_float_type(DType t, F&& f) {
  switch (t) {
    case DType::kF32: return f.template operator()<float>();
    case DType::kBf16: return f.template operator()<Bf16>();
    default: throw Unsupported("expected a floating type, found " + std::string(name(t)));
  }
}

}  // namespace phalanx
