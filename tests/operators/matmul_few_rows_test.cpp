// SPDX-License-Identifier: Apache-2.0
#include "common/matmul_few_rows.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>

#include "test_device.hpp"
#include "values.hpp"

namespace phalanx::operators_test {
namespace {

struct Sizes {
  std::int64_t n, k;
};

class MatmulFewRowsTest : public testing::TestWithParam<Sizes> {
 protected:
  void SetUp() override {
    if (!MatmulFewRows::suits(1, GetParam().n, GetParam().k, DType::kF32))
      GTEST_SKIP() << "this processor has too few registers for it";
  }

  const std::int64_t n = GetParam().n, k = GetParam().k;
  const std::vector<float> a = numbers(8 * k, 1), b = numbers(n * k, 2);

  static std::vector<float> numbers(std::int64_t count, std::uint64_t seed) {
    const Values drawn = draw(Fill::kNormal, {DType::kF32, Shape{count}}, seed, 0);
    return {drawn.begin(), drawn.end()};
  }
  std::vector<float> product(std::int64_t m, std::int64_t first_row, float alpha = 1) const {
    const MatmulFewRows few(m, n, k, alpha);
    std::vector<std::byte> workspace(few.workspace_bytes());
    std::vector<float> y(static_cast<std::size_t>(m * n), NAN);
    few.run(a.data() + first_row * k, b.data(), y.data(), workspace.data());
    return y;
  }
};

TEST_P(MatmulFewRowsTest, GivesInnerProducts) {
  for (std::int64_t m = 1; m <= 8; ++m) {
    const std::vector<float> y = product(m, 0, 0.5f);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0, size = 0;
        for (std::int64_t l = 0; l < k; ++l) {
          const double p = static_cast<double>(a[static_cast<std::size_t>(i * k + l)]) *
                           static_cast<double>(b[static_cast<std::size_t>(j * k + l)]);
          sum += p;
          size += std::abs(p);
        }
        EXPECT_NEAR(y[static_cast<std::size_t>(i * n + j)], 0.5 * sum, 2e-7 * size)
            << m << " rows, element " << i << ", " << j;
      }
  }
}

TEST_P(MatmulFewRowsTest, GivesARowTheSameBitsAmongOthersAndOnAnyNumberOfThreads) {
  const std::vector<float> whole = product(8, 0);
  const int before = omp_get_max_threads();
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    EXPECT_EQ(product(8, 0), whole) << threads << " threads";
    for (std::int64_t row = 0; row < 8; ++row) {
      const auto begin = whole.begin() + row * n;
      EXPECT_EQ(product(1, row), std::vector<float>(begin, begin + n)) << "row " << row;
    }
  }
  omp_set_num_threads(before);
}

INSTANTIATE_TEST_SUITE_P(Sizes, MatmulFewRowsTest,
                         testing::Values(Sizes{1, 64}, Sizes{7, 65}, Sizes{13, 79},
                                         Sizes{66, 1031}),
                         [](const auto& of) {
                           return std::to_string(of.param.n) + "By" + std::to_string(of.param.k);
                         });

}  // namespace
}  // namespace phalanx::operators_test
