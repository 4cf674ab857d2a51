// SPDX-License-Identifier: Apache-2.0
#include "simt/examples.hpp"

#include <gtest/gtest.h>

#include <tuple>

#include "simt/arrays.hpp"

namespace phalanx::simt_examples {
namespace {

TEST(SimtExamples, AVectorIsScaledAndAdded) {
  for (const int n : {1, 3, 4, 515, 2048, 70001}) {
    const auto x = some_floats(static_cast<std::size_t>(n), 1),
               y = some_floats(static_cast<std::size_t>(n), 2);
    auto out = y;
    scaled_add(x.data(), out.data(), 0.5f, n, nullptr);
    for (int i = 0; i < n; ++i) ASSERT_FLOAT_EQ(out[i], y[i] + 0.5f * x[i]) << n << " " << i;
  }
}

TEST(SimtExamples, RowsAreSummed) {
  for (const int columns : {1, 31, 128, 1000}) {
    const int rows = 5;
    const auto x = some_floats(static_cast<std::size_t>(rows) * columns, 3);
    std::vector<float> sums(rows);
    row_sums(x.data(), sums.data(), rows, columns, nullptr);
    for (int row = 0; row < rows; ++row) {
      double sum = 0;
      for (int i = 0; i < columns; ++i) sum += x[static_cast<std::size_t>(row) * columns + i];
      EXPECT_NEAR(sums[row], sum, 1e-4) << columns;
    }
  }
}

TEST(SimtExamples, FloatsAreMultipliedTileByTile) {
  for (const auto& [m, n, k] : {std::tuple{16, 16, 16}, {1, 1, 1}, {33, 17, 40}, {20, 50, 5}}) {
    const auto a = some_floats(static_cast<std::size_t>(m) * k, 4),
               b = some_floats(static_cast<std::size_t>(k) * n, 5);
    std::vector<float> c(static_cast<std::size_t>(m) * n);
    matmul_f32(a.data(), b.data(), c.data(), m, n, k, nullptr);
    const auto expected = product(a, b, m, n, k);
    for (std::size_t i = 0; i < c.size(); ++i)
      ASSERT_NEAR(c[i], expected[i], 1e-5) << m << " " << n << " " << k;
  }
}

TEST(SimtExamples, Bf16IsMultipliedByTensorCores) {
  for (const auto& [m, n, k] : {std::tuple{64, 64, 32}, {64, 64, 128}, {70, 72, 40}, {1, 8, 8}}) {
    const auto a_floats = some_floats(static_cast<std::size_t>(m) * k, 6);
    const auto b_floats = some_floats(static_cast<std::size_t>(k) * n, 7);
    const std::vector<__nv_bfloat16> a(a_floats.begin(), a_floats.end()),
        b(b_floats.begin(), b_floats.end());
    std::vector<float> c(static_cast<std::size_t>(m) * n);
    matmul_bf16(a.data(), b.data(), c.data(), m, n, k, nullptr);
    const auto expected = product(a, b, m, n, k);
    for (std::size_t i = 0; i < c.size(); ++i)
      ASSERT_NEAR(c[i], expected[i], 1e-4) << m << " " << n << " " << k;
  }
}

}  // namespace
}  // namespace phalanx::simt_examples
