// SPDX-License-Identifier: Apache-2.0
// The 16-bit floats that stand in for CUDA's: against the definition, and against CUDA's own where a toolkit is installed.
#include "simt/standin.hpp"

#include <gtest/gtest.h>

#include "simt/types.hpp"

namespace simt {
namespace {

/// The number that bits mean, by the definition of a float with so many bits of exponent and mantissa.
double meaning(unsigned bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
  const unsigned whole = exponent ? mantissa + (1u << mantissa_bits) : mantissa;
  const double size = std::ldexp(whole, (exponent ? exponent : 1) - bias - mantissa_bits);
  return bits & 0x8000 ? -size : size;
}

template <class Bits>
void expect_nearest(int exponent_bits, int mantissa_bits) {
  const unsigned infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
  for (unsigned bits = 0; bits < infinity; ++bits) {
    const double value = meaning(bits, exponent_bits, mantissa_bits);
    const auto next = meaning(bits + 1, exponent_bits,
                              mantissa_bits);  // what infinity would be worth, at the end
    const auto half = static_cast<float>((value + next) / 2);
    const auto exact = static_cast<float>(value);
    ASSERT_EQ(Bits::to_float(static_cast<std::uint16_t>(bits)), exact) << bits;
    ASSERT_EQ(Bits::from_float(exact), bits);
    ASSERT_EQ(Bits::from_float(-exact), bits | 0x8000);
    ASSERT_EQ(Bits::from_float(half), bits + bits % 2) << "a tie goes to the even one";
    ASSERT_EQ(Bits::from_float(std::nextafterf(half, 0.0f)), bits);
    ASSERT_EQ(Bits::from_float(std::nextafterf(half, std::numeric_limits<float>::infinity())),
              bits + 1);
  }
  EXPECT_EQ(Bits::from_float(std::numeric_limits<float>::infinity()), infinity);
  EXPECT_EQ(Bits::from_float(std::numeric_limits<float>::quiet_NaN()), 0x7fff);
  EXPECT_TRUE(std::isinf(Bits::to_float(static_cast<std::uint16_t>(infinity))));
  EXPECT_TRUE(std::isnan(Bits::to_float(0x7fff)));
}

TEST(SimtStandIn, Bf16IsTheNearest) { expect_nearest<standin::BFloat16Bits>(8, 7); }
TEST(SimtStandIn, HalfIsTheNearest) { expect_nearest<standin::HalfBits>(5, 10); }

TEST(SimtStandIn, HasTheBitsOfTheToolkit) {
  std::uint32_t bits = 1;
  for (int i = 0; i < 1000000; ++i) {
    bits = bits * 1664525 + 1013904223;
    const auto value = std::bit_cast<float>(bits);
    ASSERT_EQ(standin::__bfloat16_as_ushort(value), __bfloat16_as_ushort(__float2bfloat16(value)))
        << value;
    ASSERT_EQ(standin::__half_as_ushort(value), __half_as_ushort(__float2half(value))) << value;
  }
}

TEST(SimtStandIn, VectorsHaveTheLayoutOfTheToolkit) {
  EXPECT_EQ(alignof(standin::float4), alignof(float4));
  EXPECT_EQ(alignof(standin::float2), alignof(float2));
  EXPECT_EQ(sizeof(standin::float3), sizeof(float3));
  EXPECT_EQ(alignof(standin::uchar4), alignof(uchar4));
  EXPECT_EQ(alignof(standin::double2), alignof(double2));
  EXPECT_EQ(alignof(standin::BFloat162), alignof(__nv_bfloat162));
  EXPECT_EQ(alignof(standin::ushort4), alignof(ushort4));
}

}  // namespace
}  // namespace simt
