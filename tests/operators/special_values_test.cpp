// SPDX-License-Identifier: Apache-2.0
// Promises about values that the oracles' random numbers do not hold: NaNs, infinities, equal values, large ones.
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernel_run.hpp"

namespace phalanx::operators_test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Rows for a few lanes, a warp, a block of threads, and longer ones, with and without whole packs of 16 bytes.
constexpr std::int64_t kRowSizes[] = {10, 40, 201, 300, 1028, 1501, 9000, 9001};

/// Outputs of a forward kernel on plain f32 operands.
std::vector<Values> forward(const OpSpec& op, const Attributes& attributes,
                            const std::vector<std::pair<TensorType, Values>>& inputs) {
  KernelRun run(op, attributes, false);
  std::vector<TensorType> types;
  for (const auto& [type, values] : inputs) {
    run.add_input(type, values);
    types.push_back(type);
    types.back().channel_block = 1;
  }
  for (TensorType& type : op.infer(attributes, types)) {
    if (type.shape.rank() == 4) type.set_channel_block(inputs[0].first.channel_block);
    run.add_output(type);
  }
  run.prepare();
  run.run();
  EXPECT_EQ(run.damage(), "");
  std::vector<Values> outputs;
  for (std::size_t i = 0; i < run.outputs(); ++i) outputs.push_back(run.output(i));
  return outputs;
}

TEST(SpecialValues, AStepCountsTheAnswersThatMaxElementGives) {
  const OpSpec& op = find_operator("softmax_cross_entropy_step");
  if (!has_kernels(op)) GTEST_SKIP() << "no kernels on this device";
  std::mt19937 engine(1);
  for (const std::int64_t classes : kRowSizes) {
    constexpr std::int64_t kRows = 24;
    Values x(static_cast<std::size_t>(kRows * classes)), labels(kRows);
    std::int64_t expected = 0;
    for (std::int64_t n = 0; n < kRows; ++n) {
      double* row = x.data() + n * classes;
      for (std::int64_t c = 0; c < classes; ++c) row[c] = static_cast<double>(engine() % 3);
      const auto somewhere = [&] { return static_cast<std::int64_t>(engine()) % classes; };
      if (n % 4 == 1) row[somewhere()] = row[somewhere()] = kNan;
      if (n % 4 == 2) row[0] = kNan;
      if (n % 4 == 3) row[somewhere()] = kInfinity;
      const std::int64_t answer = std::max_element(row, row + classes) - row;
      // The answer, another place with as large a value, that of a NaN, or the largest behind a NaN.
      std::int64_t label = answer;
      if (n % 3 == 1) label = std::find(row + answer + 1, row + classes, row[answer]) - row;
      if (n % 8 == 5)
        label = std::find_if(row, row + classes, [](double v) { return v != v; }) - row;
      if (n % 8 == 2) label = std::max_element(row + 1, row + classes) - row;
      labels[static_cast<std::size_t>(n)] =
          static_cast<double>(label < classes ? label : somewhere());
      expected += labels[static_cast<std::size_t>(n)] == static_cast<double>(answer);
    }
    const auto out = forward(op, {},
                             {{{DType::kF32, Shape{kRows, classes}}, x},
                              {{DType::kI64, Shape{kRows}}, labels},
                              {{DType::kF32, Shape{}}, {1.0}}});
    EXPECT_EQ(out[1][0], static_cast<double>(expected)) << classes << " classes";
    EXPECT_TRUE(std::isnan(out[0][0])) << "a NaN was lost, " << classes << " classes";
  }
}

TEST(SpecialValues, SoftmaxTakesLargeValuesInfinitiesAndNans) {
  for (const char* name : {"softmax", "log_softmax"}) {
    const OpSpec& op = find_operator(name);
    if (!has_kernels(op)) GTEST_SKIP() << "no kernels on this device";
    const bool is_log = op.name == "log_softmax";
    for (const bool columns : {false, true})
      for (const std::int64_t size : kRowSizes) {
        SCOPED_TRACE(fmt::format("{} over {} elements, columns {}", name, size, columns));
        // Four rows: large values, all but two of them -inf, one NaN, one +inf.
        const auto at = [&](std::int64_t row, std::int64_t k) {
          return static_cast<std::size_t>(columns ? k * 4 + row : row * size + k);
        };
        Values x(static_cast<std::size_t>(4 * size), 0.0);
        for (std::int64_t k = 0; k < size; ++k) {
          x[at(0, k)] = k == 3 ? 3e38 : 3e37;
          x[at(1, k)] = k == 2 || k == size - 1 ? -5.0 : -kInfinity;
        }
        x[at(2, size / 2)] = kNan;
        x[at(3, size - 2)] = kInfinity;
        const Shape shape = columns ? Shape{size, 4} : Shape{4, size};
        const Values y =
            forward(op, {{"axis", std::int64_t{columns ? 0 : 1}}}, {{{DType::kF32, shape}, x}})[0];
        for (std::int64_t k = 0; k < size; ++k) {
          const double large = k == 3 ? 1 : 0, two = k == 2 || k == size - 1 ? 0.5 : 0;
          const double found_large = is_log ? std::exp(y[at(0, k)]) : y[at(0, k)],
                       found_two = is_log ? std::exp(y[at(1, k)]) : y[at(1, k)];
          ASSERT_EQ(found_large, large) << k;
          ASSERT_NEAR(found_two, two, 1e-6) << k;
          ASSERT_TRUE(std::isnan(y[at(2, k)])) << k;
        }
        EXPECT_TRUE(std::isnan(y[at(3, size - 2)]));
      }
  }
}

TEST(SpecialValues, MaxPoolTakesTheFirstOfEqualValuesAndKeepsNans) {
  const OpSpec& op = find_operator("max_pool");
  if (!has_kernels(op)) GTEST_SKIP() << "no kernels on this device";
  constexpr std::int64_t kChannels = 8;
  for (const std::int64_t side : {2, 3, 4})
    for (const std::int64_t block : {std::int64_t{1}, kChannels}) {
      SCOPED_TRACE(fmt::format("window of {} x {}, channel blocks of {}", side, side, block));
      // Two windows side by side: one of equal values but the first, one with a NaN.
      const Shape shape{1, kChannels, side, 2 * side};
      Values x(static_cast<std::size_t>(shape.numel()), 1.0);
      for (std::int64_t c = 0; c < kChannels; ++c) {
        double* image = x.data() + c * side * 2 * side;
        image[0] = 0.5;
        image[2 * side + side + 1] = kNan;
        image[2 * side - 1] = kInfinity;
      }
      const auto out =
          forward(op, {{"kernel_shape", Ints{side, side}}, {"strides", Ints{side, side}}},
                  {{TensorType(DType::kF32, shape, block), x}});
      for (std::size_t c = 0; c < kChannels; ++c) {
        EXPECT_EQ(out[0][2 * c], 1.0);
        EXPECT_EQ(out[1][2 * c], 1.0) << "the first of equal values is in cell 1";
        EXPECT_TRUE(std::isnan(out[0][2 * c + 1]));
      }
    }
}

TEST(SpecialValues, BatchNormKeepsTheDigitsOfAVarianceFarBelowTheMean) {
  const OpSpec& op = find_operator("batch_norm");
  if (!has_kernels(op)) GTEST_SKIP() << "no kernels on this device";
  for (const std::int64_t block : {1, 8}) {
    constexpr std::int64_t kRows = 6, kChannels = 8, kPixels = 48;
    const Shape shape{kRows, kChannels, kPixels, kPixels};
    // Values of 4096 +- 1, all representable: mean 4096, variance 1.
    Values x(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = 4096 + (i % 2 == 0 ? 1.0 : -1.0);
    const TensorType of_channels{DType::kF32, Shape{kChannels}};
    const Values ones(kChannels, 1.0), zeros(kChannels, 0.0);
    const auto out = forward(op, {{"training_mode", std::int64_t{1}}, {"momentum", 0.0}},
                             {{TensorType(DType::kF32, shape, block), x},
                              {of_channels, ones},
                              {of_channels, zeros},
                              {of_channels, zeros},
                              {of_channels, ones}});
    for (std::size_t c = 0; c < kChannels; ++c) {
      EXPECT_NEAR(out[1][c], 4096, 1e-3) << "running mean";
      EXPECT_NEAR(out[2][c], 1, 1e-5) << "running variance";
      EXPECT_NEAR(out[3][c], 4096, 1e-3) << "mean";
    }
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(out[0][i], x[i] - 4096, 1e-3);
  }
}

}  // namespace
}  // namespace phalanx::operators_test
