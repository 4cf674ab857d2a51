// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "core/dtype.hpp"
#include "core/rng.hpp"
#include "core/shape.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

TEST(Shape, CountsItsElements) {
  EXPECT_EQ(Shape({4, 3, 2}).numel(), 24);
  EXPECT_EQ(Shape().numel(), 1);
  EXPECT_EQ(Shape({4, 0, 2}).numel(), 0);
  EXPECT_EQ(Shape({4, 3, 2}).product(1, 3), 6);
  EXPECT_EQ(Shape({4, 3, 2}).product(2, 2), 1);
}

TEST(Shape, CountsAxesFromBothEnds) {
  const Shape shape{4, 3, 2};
  EXPECT_EQ(shape[0], 4);
  EXPECT_EQ(shape[-1], 2);
  EXPECT_EQ(shape.normalised_axis(-3), 0);
  EXPECT_THROW(shape[3], InvalidArgument);
  EXPECT_THROW(shape[-4], InvalidArgument);
  EXPECT_THROW(Shape()[0], InvalidArgument);
}

TEST(Shape, RefusesANegativeSize) { EXPECT_THROW(Shape({2, -1}), InvalidArgument); }

TEST(Shape, RefusesTooManyAxes) {
  EXPECT_EQ(Shape({1, 1, 1, 1, 1, 1, 1, 1}).rank(), Shape::kMaxRank);
  EXPECT_THROW(Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}), InvalidArgument);
}

TEST(Shape, RefusesAnElementCountThatOverflows) {
  constexpr std::int64_t kLarge = std::int64_t{1} << 32;
  EXPECT_THROW(Shape({kLarge, kLarge}), InvalidArgument);
  EXPECT_EQ(Shape({0, kLarge, kLarge}).numel(), 0);
}

TEST(Shape, ResizesOneAxis) {
  EXPECT_EQ(Shape({4, 3}).with(-1, 7), Shape({4, 7}));
  EXPECT_EQ(Shape({4, 3}).str(), "[4, 3]");
  EXPECT_NE(Shape({4}), Shape({4, 1}));
}

TEST(Shape, BroadcastsAsNumPyDoes) {
  EXPECT_EQ(broadcast({4, 1, 3}, {2, 1}), Shape({4, 2, 3}));
  EXPECT_EQ(broadcast({}, {5}), Shape({5}));
  EXPECT_EQ(broadcast({1}, {0}), Shape({0}));
  EXPECT_THROW(broadcast({2, 3}, {2}), InvalidArgument);
}

TEST(Bf16, RoundsToNearestEven) {
  const auto round_trip = [](float x) { return static_cast<float>(Bf16(x)); };
  EXPECT_EQ(round_trip(1.0f), 1.0f);
  EXPECT_EQ(round_trip(1.0f + 0x1p-8f), 1.0f);            // half way: to even
  EXPECT_EQ(round_trip(1.0f + 0x3p-8f), 1.0f + 0x1p-6f);  // half way: to even
  EXPECT_EQ(round_trip(1.0f + 0x1.8p-8f), 1.0f + 0x1p-7f);
  EXPECT_EQ(round_trip(-0.0f), 0.0f);
  EXPECT_TRUE(std::isinf(round_trip(std::numeric_limits<float>::max())));
  EXPECT_TRUE(std::isnan(round_trip(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Text, FindsTheNearestWord) {
  const std::array<std::string, 3> words = {"relu", "gelu", "softmax"};
  EXPECT_EQ(nearest("rellu", words), "relu");
  EXPECT_EQ(nearest("softmx", words), "softmax");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Text, TrimsAndSplits) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(trim("  a b\t\n"), "a b");
  EXPECT_EQ(trim(" \t"), "");
  EXPECT_EQ(split("a,,b,", ','), (Parts{"a", "", "b", ""}));
  EXPECT_EQ(split("", ','), (Parts{""}));
  EXPECT_EQ(split_words("  two\twords \n"), (Parts{"two", "words"}));
  EXPECT_EQ(split_words("  "), Parts{});
}

TEST(Text, ParsesWholeNumbersOnly) {
  EXPECT_EQ(parse_int("-17"), -17);
  EXPECT_EQ(parse_double("1e-3"), 1e-3);
  for (const char* bad : {"", "1x", " 1", "1 ", "0x10", "99999999999999999999"})
    EXPECT_THROW(parse_int(bad), InvalidInput) << bad;
  for (const char* bad : {"", "1.0.0", "e", "1 "})
    EXPECT_THROW(parse_double(bad), InvalidInput) << bad;
}

TEST(Text, WritesSizesAndTimesForPeople) {
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(std::uint64_t{3} << 30), "3.0 GiB");
  EXPECT_EQ(human_seconds(0.85), "850 ms");
  EXPECT_EQ(human_seconds(192), "3 m 12 s");
  EXPECT_EQ(human_seconds(3 * 3600 + 60), "3 h 1 m");
}

// Known answers of the Random123 distribution, kat_vectors, philox4x32 with 10 rounds.
TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~std::uint64_t{0}, {kOnes, kOnes, kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformNumbersLieInTheHalfOpenUnitInterval) {
  EXPECT_EQ(uniform01(0), 0.0f);
  EXPECT_LT(uniform01(0xffffffff), 1.0f);
}

TEST(Philox, NormalNumbersHaveTheMomentsOfANormalDistribution) {
  constexpr int kPairs = 50000;
  double sum = 0, squares = 0, fourth = 0;
  for (std::uint32_t i = 0; i < kPairs; ++i) {
    const auto words = philox(5, {i, 0, 0, 0});
    for (double x : normal_pair(words[0], words[1]))
      sum += x, squares += x * x, fourth += x * x * x * x;
  }
  constexpr double kCount = 2 * kPairs;  // standard errors: 0.003, 0.0045, 0.03
  EXPECT_NEAR(sum / kCount, 0, 0.015);
  EXPECT_NEAR(squares / kCount, 1, 0.02);
  EXPECT_NEAR(fourth / kCount, 3, 0.15);
  for (float x : normal_pair(0, 0)) EXPECT_TRUE(std::isfinite(x));
  for (float x : normal_pair(0xffffffff, 0xffffffff)) EXPECT_TRUE(std::isfinite(x));
}

TEST(Permutation, TakesEveryValueOnce) {
  for (const std::uint64_t n : {1u, 2u, 3u, 4u, 5u, 16u, 17u, 255u, 1000u, 4097u}) {
    const Permutation permutation(n, 7, 3);
    std::vector<bool> seen(n, false);
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t to = permutation(i);
      ASSERT_LT(to, n);
      ASSERT_FALSE(seen[to]) << "of " << n << ": " << to << " twice";
      seen[to] = true;
    }
  }
}

TEST(Permutation, DependsOnSeedAndEpoch) {
  const auto order = [](std::uint64_t seed, std::uint64_t epoch) {
    std::vector<std::uint64_t> values;
    const Permutation permutation(1000, seed, epoch);
    for (std::uint64_t i = 0; i < 1000; ++i) values.push_back(permutation(i));
    return values;
  };
  const std::set<std::vector<std::uint64_t>> orders = {
      order(1, 0), order(1, 1), order(2, 0), order(2, 1), order(std::uint64_t{1} << 40, 0)};
  EXPECT_EQ(orders.size(), 5u);
  EXPECT_EQ(order(1, 1), order(1, 1));
}

TEST(Permutation, MovesNeighboursApart) {
  constexpr std::uint64_t kCount = 10000;
  const Permutation permutation(kCount, 1, 1);
  double distance = 0;
  for (std::uint64_t i = 1; i < kCount; ++i)
    distance +=
        std::abs(static_cast<double>(permutation(i)) - static_cast<double>(permutation(i - 1)));
  EXPECT_NEAR(distance / kCount / kCount, 1.0 / 3, 0.02);  // of two independent uniform numbers
}

}  // namespace
}  // namespace phalanx
