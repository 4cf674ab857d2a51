// SPDX-License-Identifier: Apache-2.0
#include "common/math.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace phalanx {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

constexpr std::uint64_t kStep = 1009;

struct Worst {
  double ulp = 0;
  float at = 0;
};

/// Distance in units in the last place of the exact value; below the normal numbers the unit stays that of the smallest.
double ulp_error(float found, double exact) {
  if (std::abs(exact) > std::numeric_limits<float>::max()) return std::isinf(found) ? 0 : 1e9;
  int exponent = 0;
  std::frexp(exact, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent, -125) - 24);
  return std::abs(static_cast<double>(found) - exact) / unit;
}

/// The largest error over every 1009th f32 in [from, to].
template <class F, class Exact>
Worst worst_error(float from, float to, F f, Exact exact) {
  Worst worst;
  const auto try_one = [&](float x) {
    if (!(x >= from && x <= to)) return;
    const double error = ulp_error(f(x), exact(static_cast<double>(x)));
    if (error > worst.ulp || std::isnan(error)) worst = {std::isnan(error) ? 1e9 : error, x};
  };
  for (std::uint64_t bits = 0; bits < 0x7f800000u; bits += kStep) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    try_one(x);
    try_one(-x);
  }
  return worst;
}

void expect_within(double ulp, const Worst& worst) {
  EXPECT_LE(worst.ulp, ulp) << "at x = " << worst.at;
  EXPECT_GT(worst.ulp, 0) << "nothing was measured";
}

TEST(Math, ExpIsWithinItsErrorForAllNumbers) {
  expect_within(
      2, worst_error(-kInfinity, kInfinity, math::exp, [](double x) { return std::exp(x); }));
}

TEST(Math, Expm1IsWithinItsErrorUpTo88) {
  expect_within(3,
                worst_error(-kInfinity, 88, math::expm1, [](double x) { return std::expm1(x); }));
}

TEST(Math, Log1pUnitIsWithinItsErrorFromZeroToOne) {
  expect_within(3, worst_error(0, 1, math::log1p_unit, [](double x) { return std::log1p(x); }));
}

TEST(Math, SoftplusIsWithinItsErrorForAllNumbers) {
  expect_within(4, worst_error(-kInfinity, kInfinity, math::softplus, [](double x) {
                  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
                }));
}

TEST(Math, SigmoidIsWithinItsErrorAboveMinus87) {
  expect_within(4, worst_error(-87, kInfinity, math::sigmoid,
                               [](double x) { return 1 / (1 + std::exp(-x)); }));
}

TEST(Math, TanhIsWithinItsErrorForAllNumbers) {
  expect_within(
      4, worst_error(-kInfinity, kInfinity, math::tanh, [](double x) { return std::tanh(x); }));
}

TEST(Math, ErfIsWithinItsErrorForAllNumbers) {
  expect_within(
      4, worst_error(-kInfinity, kInfinity, math::erf, [](double x) { return std::erf(x); }));
}

TEST(Math, LimitsAreReached) {
  EXPECT_EQ(math::exp(0.0f), 1.0f);
  EXPECT_EQ(math::exp(-kInfinity), 0.0f);
  EXPECT_EQ(math::exp(kInfinity), kInfinity);
  EXPECT_EQ(math::expm1(-kInfinity), -1.0f);
  EXPECT_EQ(math::sigmoid(-kInfinity), 0.0f);
  EXPECT_EQ(math::sigmoid(kInfinity), 1.0f);
  EXPECT_EQ(math::tanh(-kInfinity), -1.0f);
  EXPECT_EQ(math::tanh(kInfinity), 1.0f);
  EXPECT_EQ(math::erf(-kInfinity), -1.0f);
  EXPECT_EQ(math::erf(kInfinity), 1.0f);
  EXPECT_EQ(math::softplus(kInfinity), kInfinity);
  EXPECT_EQ(math::softplus(-kInfinity), 0.0f);
}

TEST(Math, NaNStaysNaN) {
  for (float (*f)(float) : {math::exp, math::expm1, math::log1p_unit, math::softplus, math::sigmoid,
                            math::tanh, math::erf})
    EXPECT_TRUE(std::isnan(f(kNaN)));
}

TEST(Math, ALoopOverManyElementsGivesTheBitsOfSingleCalls) {
  std::vector<float> x(1003), y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.037f * static_cast<float>(i) - 18.0f;
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = math::tanh(x[i]);
  for (std::size_t i = 0; i < x.size(); ++i) {
    volatile float single = x[i];
    EXPECT_EQ(std::bit_cast<std::uint32_t>(y[i]), std::bit_cast<std::uint32_t>(math::tanh(single)))
        << "x = " << x[i];
  }
}

}  // namespace
}  // namespace phalanx
