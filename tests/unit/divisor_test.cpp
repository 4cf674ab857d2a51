// SPDX-License-Identifier: Apache-2.0
#include "common/divisor.hpp"

#include <gtest/gtest.h>

#include <random>

namespace phalanx {
namespace {

void expect_division(std::uint64_t place, std::int64_t size) {
  const auto d = static_cast<std::uint64_t>(size);
  const Divisor divisor(size);
  EXPECT_EQ(divisor.quotient(place), place / d) << place << " / " << size;
  std::uint64_t rest_of = place;
  EXPECT_EQ(divisor.take(rest_of), place % d) << place << " % " << size;
  EXPECT_EQ(rest_of, place / d);
}

TEST(Divisor, DividesAsTheProcessorDoesNextToEveryMultiple) {
  const std::int64_t powers[] = {0, 1, 2, 3, 5, 8, 15, 16, 30, 31};
  std::vector<std::int64_t> sizes;
  for (std::int64_t p : powers)
    for (std::int64_t near : {-1, 0, 1})
      if ((std::int64_t{1} << p) + near > 0) sizes.push_back((std::int64_t{1} << p) + near);
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i)
    sizes.push_back(1 + static_cast<std::int64_t>(random() >> (33 + i % 30)));
  for (const std::int64_t size : sizes)
    for (const std::uint64_t last : {1ULL, 77ULL, (1ULL << 16) - 1, 1ULL << 31, 1ULL << 40})
      for (int i = 0; i < 20; ++i) {
        const auto d = static_cast<std::uint64_t>(size);
        const std::uint64_t multiple = random() % (last + 1) / d * d;
        for (const std::uint64_t place : {multiple - 1, multiple, multiple + 1, last - 1, last})
          if (place <= (1ULL << 41)) expect_division(place, size);
      }
}

TEST(Divisor, TakesSizesAndPlacesBeyondTheQuickRange) {
  for (const std::int64_t size :
       {(std::int64_t{1} << 31) - 1, std::int64_t{1} << 31, std::int64_t{5} << 32})
    for (const std::uint64_t place :
         {0ULL, (1ULL << 31) - 1, 1ULL << 31, 5ULL << 32, (5ULL << 33) + 7})
      if (place % static_cast<std::uint64_t>(size) < (1ULL << 32)) expect_division(place, size);
}

}  // namespace
}  // namespace phalanx
