// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

namespace phalanx::math {

/// Elementary functions in f32 for loops over many elements: no branch, no table, no call, so that the compiler turns a loop
/// over them into vector instructions. Errors are in units in the last place of the exact result, over every f32 in the
/// stated domain; tests/unit/math_test.cpp measures them. NaN gives NaN. The polynomials are minimax fits of our own.
/// Source    Muller et al.: Handbook of Floating-Point Arithmetic, 2nd ed., 2018, section 10 (range reduction, two-part ln 2).

/// x = n ln 2 + r with |r| <= 0.35; e^r - 1 as a polynomial, and n as a number and as bits.
struct ExpParts {
  float e_r_minus_1;
  std::uint32_t n;  ///< two's complement
};

inline ExpParts exp_parts(float x) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0x1.62e4p-1f, kLn2Low = 1.42860682e-6f;
  constexpr float kRound =
      0x1.8p23f;  // adding it rounds to an integer and leaves that in the low bits
  const float t = x * kLog2E + kRound, n = t - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float q = 1.3946474e-3f;
  q = q * r + 8.366598e-3f;
  q = q * r + 4.166628e-2f;
  q = q * r + 1.6666543e-1f;
  q = q * r + 0.5f;
  return {q * (r * r) + r, std::bit_cast<std::uint32_t>(t) - std::bit_cast<std::uint32_t>(kRound)};
}

/// 2^n for -127 < n < 128, n in two's complement.
inline float power_of_two(std::uint32_t n) { return std::bit_cast<float>((n + 127u) << 23); }

/// e^x within 2 ulp for all x; below -87.3 the results are subnormal, above 88.72 infinite.
inline float exp(float x) {
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const ExpParts p = exp_parts(x);
  // In two factors, since 2^n itself may be neither normal nor finite where the result is.
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(p.n) >> 1);
  return (p.e_r_minus_1 + 1.0f) * power_of_two(half) * power_of_two(p.n - half);
}

/// e^x - 1 within 3 ulp for x <= 88.
inline float expm1(float x) {
  x = x < -18.0f ? -18.0f : x;
  const ExpParts p = exp_parts(x);
  const float scale = power_of_two(p.n);
  return scale * p.e_r_minus_1 + (scale - 1.0f);
}

/// log(1 + u) within 3 ulp for 0 <= u <= 1.
inline float log1p_unit(float u) {
  float p = -3.244012e-3f;
  p = p * u + 1.98514e-2f;
  p = p * u - 5.6959413e-2f;
  p = p * u + 1.0603642e-1f;
  p = p * u - 1.5305585e-1f;
  p = p * u + 1.9675936e-1f;
  p = p * u - 2.4954133e-1f;
  p = p * u + 3.3329964e-1f;
  p = p * u - 4.9999902e-1f;
  p = p * u + 1.0f;
  return p * u;
}

/// log(1 + e^x) within 4 ulp for all x.
inline float softplus(float x) {
  const float magnitude = x < 0.0f ? -x : x;
  return (x > 0.0f ? x : 0.0f) + log1p_unit(exp(-magnitude));
}

/// 1 / (1 + e^-x) within 4 ulp for x >= -87; below that it tends to 0 and is 0 from -88.8 on.
inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

/// Within 4 ulp for all x.
inline float tanh(float x) {
  float magnitude = x < 0.0f ? -x : x;
  magnitude = magnitude > 10.0f ? 10.0f : magnitude;
  const float t = expm1(2.0f * magnitude);
  const float y = t / (t + 2.0f);
  return x < 0.0f ? -y : y;
}

/// Within 4 ulp for all x.
inline float erf(float x) {
  float magnitude = x < 0.0f ? -x : x;
  magnitude = magnitude > 4.0f ? 4.0f : magnitude;
  const float s = magnitude * magnitude;
  float near = 8.185092e-5f;  // erf(x) / x over x^2, |x| < 0.95
  near = near * s - 8.097703e-4f;
  near = near * s + 5.1969523e-3f;
  near = near * s - 2.6857706e-2f;
  near = near * s + 1.1283664e-1f;
  near = near * s - 3.7612632e-1f;
  near = near * s + 1.1283792f;
  float far = -1.9242492e-4f;  // -log(1 - erf(x)), 0.95 <= x <= 4
  far = far * magnitude + 3.0085265e-3f;
  far = far * magnitude - 2.2087602e-2f;
  far = far * magnitude + 1.0364024e-1f;
  far = far * magnitude + 6.375171e-1f;
  far = far * magnitude + 1.1274749f;
  far = far * magnitude + 2.4472512e-4f;
  const float y = magnitude < 0.95f ? near * magnitude : 1.0f - exp(-far);
  return x < 0.0f ? -y : y;
}

}  // namespace phalanx::math
