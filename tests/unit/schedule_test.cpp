// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/error.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kStepsPerEpoch = 10;
constexpr std::int64_t kTotal = 100;

TrainConfig config(const char* schedule, double warmup_epochs = 0) {
  TrainConfig c;
  c.schedule = schedule;
  c.learning_rate = 0.4;
  c.warmup_epochs = warmup_epochs;
  c.final_factor = 0.05;
  c.step_epochs = 3;
  c.step_factor = 0.5;
  return c;
}

Schedule schedule(const char* name, double warmup_epochs = 0) {
  return Schedule(config(name, warmup_epochs), kStepsPerEpoch, kTotal);
}

TEST(Schedule, WarmUpRisesInEqualStepsToThePeakForEveryKind) {
  for (const char* name : {"constant", "step", "cosine", "linear"}) {
    const Schedule s = schedule(name, 2);
    EXPECT_EQ(s.warmup_steps(), 20);
    for (int step = 0; step < 20; ++step)
      EXPECT_DOUBLE_EQ(s.rate(step), 0.4 * (step + 1) / 20) << name;
    EXPECT_DOUBLE_EQ(s.rate(19), 0.4) << name;
    EXPECT_DOUBLE_EQ(s.rate(20), 0.4) << name;
  }
}

TEST(Schedule, ConstantKeepsThePeak) {
  for (const std::int64_t step : {0, 1, 99, 100, 1000000})
    EXPECT_EQ(schedule("constant").rate(step), 0.4);
}

TEST(Schedule, StepDropsAfterEachNumberOfEpochsCountedFromTheWarmUp) {
  const Schedule s = schedule("step", 1);
  EXPECT_DOUBLE_EQ(s.rate(10), 0.4);
  EXPECT_DOUBLE_EQ(s.rate(39), 0.4);
  EXPECT_DOUBLE_EQ(s.rate(40), 0.2);
  EXPECT_DOUBLE_EQ(s.rate(69), 0.2);
  EXPECT_DOUBLE_EQ(s.rate(70), 0.1);
}

TEST(Schedule, LinearFallsEvenlyToTheFinalFactor) {
  const Schedule s = schedule("linear", 2);
  EXPECT_DOUBLE_EQ(s.rate(60), 0.4 * (1 + 0.05) / 2);
  EXPECT_NEAR(s.rate(30) - s.rate(31), s.rate(80) - s.rate(81), 1e-15);
  EXPECT_DOUBLE_EQ(s.rate(kTotal), 0.4 * 0.05);
}

TEST(Schedule, CosineFollowsItsFormula) {
  const Schedule s = schedule("cosine");
  for (int step = 0; step <= kTotal; ++step)
    EXPECT_NEAR(s.rate(step),
                0.02 + 0.5 * (0.4 - 0.02) * (1 + std::cos(std::numbers::pi * step / 100)), 1e-15);
  EXPECT_DOUBLE_EQ(s.rate(0), 0.4);
  EXPECT_DOUBLE_EQ(s.rate(50), (0.4 + 0.02) / 2);
}

TEST(Schedule, OneCycleRisesFromATwentyFifthAndFallsAsCosine) {
  const Schedule s = schedule("one-cycle");
  EXPECT_EQ(s.warmup_steps(), 30);
  EXPECT_DOUBLE_EQ(s.rate(0), 0.4 / 25 + (0.4 - 0.4 / 25) / 30);
  EXPECT_DOUBLE_EQ(s.rate(14), 0.4 / 25 + (0.4 - 0.4 / 25) / 2);
  EXPECT_DOUBLE_EQ(s.rate(29), 0.4);
  EXPECT_DOUBLE_EQ(s.rate(65), (0.4 + 0.02) / 2);
  EXPECT_DOUBLE_EQ(s.rate(kTotal), 0.02);
  EXPECT_EQ(schedule("one-cycle", 5).warmup_steps(), 50);
}

TEST(Schedule, TheRateStaysAtItsEndAfterTheLastStep) {
  for (const char* name : {"cosine", "linear", "one-cycle"})
    for (const std::int64_t step : {kTotal, kTotal + 1, 100 * kTotal})
      EXPECT_DOUBLE_EQ(schedule(name).rate(step), 0.4 * 0.05) << name;
}

TEST(Schedule, AFinalFactorOfZeroWastesNoStep) {
  TrainConfig c = config("linear");
  c.final_factor = 0;
  const Schedule s(c, kStepsPerEpoch, kTotal);
  EXPECT_DOUBLE_EQ(s.rate(kTotal - 1), 0.4 / kTotal);
  EXPECT_EQ(s.rate(kTotal), 0);
}

TEST(Schedule, RunsThatEndWithinTheWarmUpHaveFiniteRates) {
  for (const char* name : {"constant", "step", "cosine", "linear", "one-cycle"})
    for (const std::int64_t total : {0, 1, 19, 20}) {
      const Schedule s(config(name, 2), kStepsPerEpoch, total);
      for (int step = 0; step < 40; ++step) {
        EXPECT_TRUE(std::isfinite(s.rate(step))) << name;
        EXPECT_LE(s.rate(step), 0.4) << name;
      }
    }
}

TEST(Schedule, AFractionOfAnEpochIsRoundedToSteps) {
  EXPECT_EQ(schedule("cosine", 0.26).warmup_steps(), 3);
}

TEST(Schedule, AnUnknownNameIsRefusedWithTheNearest) {
  try {
    schedule("cosin");
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("found 'cosin'; did you mean 'cosine'?"),
              std::string::npos)
        << e.what();
  }
}

TEST(Schedule, StepsAndTotalsOutsideTheirRangeAreRefused) {
  EXPECT_THROW(Schedule(config("step"), 0, kTotal), InvalidArgument);
  EXPECT_THROW(Schedule(config("step"), kStepsPerEpoch, -1), InvalidArgument);
  EXPECT_THROW(schedule("step").rate(-1), InvalidArgument);
}

}  // namespace
}  // namespace phalanx
