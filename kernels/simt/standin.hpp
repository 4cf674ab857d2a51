// SPDX-License-Identifier: Apache-2.0
/// CUDA's vector types and 16-bit floats where no toolkit is installed: the same names, layout and bits.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace simt::standin {

// Vectors of 8 bytes and more are aligned as the GPU's loads of them ask for; those of three elements are not.
template <class T, int kAlignment>
struct alignas(kAlignment) Vector2 {
  T x, y;
};
template <class T>
struct Vector3 {
  T x, y, z;
};
template <class T, int kAlignment>
struct alignas(kAlignment) Vector4 {
  T x, y, z, w;
};

using float2 = Vector2<float, 8>;
using float3 = Vector3<float>;
using float4 = Vector4<float, 16>;
using int2 = Vector2<int, 8>;
using int3 = Vector3<int>;
using int4 = Vector4<int, 16>;
using uint2 = Vector2<unsigned, 8>;
using uint3 = Vector3<unsigned>;
using uint4 = Vector4<unsigned, 16>;
using double2 = Vector2<double, 16>;
using char4 = Vector4<signed char, 4>;
using uchar4 = Vector4<unsigned char, 4>;
using ushort4 = Vector4<unsigned short, 8>;

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned in_x = 1, unsigned in_y = 1, unsigned in_z = 1)
      : x(in_x), y(in_y), z(in_z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline char4 make_char4(signed char x, signed char y, signed char z, signed char w) {
  return {x, y, z, w};
}
inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) {
  return {x, y, z, w};
}
inline ushort4 make_ushort4(unsigned short x, unsigned short y, unsigned short z,
                            unsigned short w) {
  return {x, y, z, w};
}

/// Without the lowest `count` bits, to the nearest, ties to even.
constexpr std::uint32_t drop_bits(std::uint32_t bits, int count) {
  const std::uint32_t kept = bits >> count, half = 1u << (count - 1);
  const std::uint32_t dropped = bits & (2 * half - 1);
  return kept + (dropped > half || (dropped == half && (kept & 1) != 0));
}

/// bf16: the upper half of a float. A NaN becomes 0x7fff.
struct BFloat16Bits {
  static std::uint16_t from_float(float value) {
    if (std::isnan(value)) return 0x7fff;
    return static_cast<std::uint16_t>(drop_bits(std::bit_cast<std::uint32_t>(value), 16));
  }
  static float to_float(std::uint16_t bits) {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }
};

/// IEEE half: 5 bits of exponent, 10 of mantissa. A NaN becomes 0x7fff.
struct HalfBits {
  static std::uint16_t from_float(float value) {
    if (std::isnan(value)) return 0x7fff;
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    const float size = std::fabs(value);
    if (size >= 65520.0f)
      return static_cast<std::uint16_t>(sign | 0x7c00);  // halfway to what would be next
    if (size <
        0x1p-14f) {  // multiples of 2^-24; beside 1 << 23 a float is rounded to a whole number
      const float whole = (size * 0x1p24f + 0x1p23f) - 0x1p23f;
      return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(whole));
    }
    return static_cast<std::uint16_t>(sign | (drop_bits(magnitude, 13) - (112u << 10)));
  }
  static float to_float(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    float size = std::ldexp(static_cast<float>(exponent ? 1024 + mantissa : mantissa),
                            (exponent ? exponent : 1) - 25);
    if (exponent == 31) {
      size = mantissa ? std::numeric_limits<float>::quiet_NaN()
                      : std::numeric_limits<float>::infinity();
    }
    return bits & 0x8000 ? -size : size;
  }
};

/// Arithmetic in float, rounded.
template <class Bits>
struct Float16 {
  std::uint16_t bits;

  Float16() = default;
  Float16(float value) : bits(Bits::from_float(value)) {}
  operator float() const { return Bits::to_float(bits); }

  friend Float16 operator+(Float16 a, Float16 b) { return float{a} + float{b}; }
  friend Float16 operator-(Float16 a, Float16 b) { return float{a} - float{b}; }
  friend Float16 operator*(Float16 a, Float16 b) { return float{a} * float{b}; }
  friend Float16 operator/(Float16 a, Float16 b) { return float{a} / float{b}; }
  friend Float16 operator-(Float16 a) { return -float{a}; }
  friend bool operator==(Float16 a, Float16 b) { return float{a} == float{b}; }
  friend bool operator<(Float16 a, Float16 b) { return float{a} < float{b}; }
  friend bool operator>(Float16 a, Float16 b) { return float{a} > float{b}; }
};

using Half = Float16<HalfBits>;
using Half2 = Vector2<Half, 4>;
using BFloat16 = Float16<BFloat16Bits>;
using BFloat162 = Vector2<BFloat16, 4>;

inline Half __float2half(float value) { return value; }
inline Half __float2half_rn(float value) { return value; }
inline float __half2float(Half value) { return value; }
inline Half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline Half2 __float22half2_rn(float2 v) { return {v.x, v.y}; }
inline float2 __half22float2(Half2 v) { return {v.x, v.y}; }
inline unsigned short __half_as_ushort(Half value) { return value.bits; }
inline Half __ushort_as_half(unsigned short bits) { return std::bit_cast<Half>(bits); }
inline BFloat16 __float2bfloat16(float value) { return value; }
inline BFloat16 __float2bfloat16_rn(float value) { return value; }
inline float __bfloat162float(BFloat16 value) { return value; }
inline BFloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline BFloat162 __float22bfloat162_rn(float2 v) { return {v.x, v.y}; }
inline float2 __bfloat1622float2(BFloat162 v) { return {v.x, v.y}; }
inline unsigned short __bfloat16_as_ushort(BFloat16 value) { return value.bits; }
inline BFloat16 __ushort_as_bfloat16(unsigned short bits) { return std::bit_cast<BFloat16>(bits); }

}  // namespace simt::standin
