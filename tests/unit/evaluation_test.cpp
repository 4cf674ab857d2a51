// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "train/evaluate.hpp"
#include "train/rank_times.hpp"

namespace phalanx {
namespace {

TEST(Metrics, F1OfTwoClassesIsThatOfThePositiveOne) {
  EXPECT_DOUBLE_EQ(f1_score(std::vector<std::int64_t>{50, 10, 5, 35}, 2), 70.0 / 85.0);
  EXPECT_EQ(f1_score(std::vector<std::int64_t>{9, 0, 0, 0}, 2), 0);
}

TEST(Metrics, F1OfManyClassesIsTheMeanOverThoseThatOccur) {
  // labels 0 1 2 0 1 2, answers 0 2 1 0 0 1: scikit-learn's example for f1_score(average="macro")
  EXPECT_NEAR(f1_score(std::vector<std::int64_t>{2, 0, 0, 1, 0, 1, 0, 2, 0}, 3), 0.8 / 3, 1e-12);
  // The same with a class that is neither label nor answer.
  EXPECT_NEAR(
      f1_score(std::vector<std::int64_t>{2, 0, 0, 0, 1, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0}, 4),
      0.8 / 3, 1e-12);
}

TEST(Metrics, TopFiveCountsLabelsAmongTheFiveBestAndConfusionTheBest) {
  // Logits fall from class 0 to class 6, so labels 0 to 4 are among the five best.
  const std::vector<float> logits{7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1};
  const std::vector<std::int64_t> labels{0, 4, 5};
  MetricSums sums;
  add_batch(sums, "softmax_cross_entropy", {logits.data(), {DType::kF32, Shape{3, 7}}},
            {labels.data(), {DType::kI64, Shape{3}}}, 1.5f, 1, {});
  EXPECT_EQ(sums.correct, 1);
  EXPECT_EQ(sums.top5, 2);
  ASSERT_EQ(sums.confusion.size(), 49u);
  EXPECT_EQ(sums.confusion[0], 1);
  EXPECT_EQ(sums.confusion[4 * 7], 1);
  EXPECT_EQ(sums.confusion[5 * 7], 1);
}

TEST(Metrics, BinaryTargetsAreConfusedByTheSignOfTheLogit) {
  const std::vector<float> logits{-1, 2, 3, -4}, targets{0, 1, 0, 1};
  MetricSums sums;
  add_batch(sums, "binary_cross_entropy", {logits.data(), {DType::kF32, Shape{4, 1}}},
            {targets.data(), {DType::kF32, Shape{4, 1}}}, 1.0f, 2, {});
  EXPECT_EQ(sums.confusion, (std::vector<std::int64_t>{1, 1, 1, 1}));
  EXPECT_EQ(sums.correct, 2);
}

TEST(Metrics, OneThatDoesNotFitIsRefusedWithThoseThatDo) {
  Evaluation e;
  e.is_classifier = false;
  e.loss = 2;
  EXPECT_EQ(metric_of(e, "loss"), 2);
  try {
    metric_of(e, "f1");
    ADD_FAILURE() << "not refused";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "best-metric: this task has loss, mean_absolute_error, r2; found 'f1'");
  }
  EXPECT_TRUE(is_better_when_higher("top5_accuracy"));
  EXPECT_FALSE(is_better_when_higher("perplexity"));
}

TEST(RankTimes, QuantilesAreOfEachPartByItself) {
  StepTimes times;
  EXPECT_EQ(times.quantiles().median.step, 0);
  for (int i = 1; i <= 100; ++i)
    times.add({.step = static_cast<float>(i), .data = static_cast<float>(101 - i), .compute = 5});
  EXPECT_EQ(times.quantiles().median.step, 50);
  EXPECT_EQ(times.quantiles().p95.step, 95);
  EXPECT_EQ(times.quantiles().p95.data, 95);
  EXPECT_EQ(times.quantiles().median.compute, 5);
  for (std::size_t i = 0; i < StepTimes::kMost; ++i) times.add({.step = 7});
  EXPECT_EQ(times.quantiles().p95.step, 7) << "old steps are forgotten";
}

TEST(RankTimes, SlowestRankIsTheOneThatOthersWaitFor) {
  const auto rank = [](float data, float compute, float communication) {
    return RankTimes{.median = {.step = data + compute + communication,
                                .data = data,
                                .communication = communication,
                                .compute = compute}};
  };
  // Steps take equally long on all ranks, since the fast ones wait.
  const Straggler slowest = find_straggler({rank(0, 10, 5), rank(1, 13, 1), rank(0, 10, 5)});
  EXPECT_EQ(slowest.rank, 1);
  EXPECT_NEAR(slowest.excess, 0.4, 1e-6);
}

}  // namespace
}  // namespace phalanx
