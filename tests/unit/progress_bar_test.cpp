// SPDX-License-Identifier: Apache-2.0
#include "train/progress_bar.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace phalanx {
namespace {

ProgressBar::Options terminal(int columns = 100) {
  ProgressBar::Options o;
  o.is_terminal = true;
  o.columns = columns;
  o.total_steps = 1000;
  o.total_epochs = 10;
  return o;
}

ProgressBar::Options batch_job() {
  ProgressBar::Options o = terminal();
  o.is_terminal = false;
  return o;
}

RunProgress at(std::int64_t step) {
  return {step, static_cast<double>(step) / 100, 0.31274, 8210.4};
}

std::size_t count(const std::string& text, char c) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), c));
}

TEST(ProgressBar, ATerminalShowsOneLineWithEverything) {
  std::ostringstream out;
  ProgressBar bar(out, terminal(103), {}, 0);
  EXPECT_EQ(bar.text(at(250), 64),
            "epoch 3/10 [=======>                       ] step 250/1000  loss 0.3127  "
            "8210 samples/s  3 m 12 s left");
}

TEST(ProgressBar, ATerminalIsRedrawnInPlaceAtMostTenTimesASecond) {
  std::ostringstream out;
  ProgressBar bar(out, terminal(), {}, 0);
  for (int i = 1; i <= 1000; ++i) bar.update(at(i), i * 0.001);
  EXPECT_LE(count(out.str(), '\r'), 10U);
  EXPECT_GE(count(out.str(), '\r'), 9U);
  EXPECT_EQ(count(out.str(), '\n'), 0U);
  bar.finish(1.001);
  EXPECT_EQ(count(out.str(), '\n'), 1U);
  const std::string last = out.str().substr(out.str().rfind('\r'));
  EXPECT_NE(last.find("epoch 10/10 [="), std::string::npos) << last;
  EXPECT_EQ(last.find("left"), std::string::npos) << last;
}

TEST(ProgressBar, ALineIsNeverWiderThanTheTerminal) {
  std::ostringstream out;
  for (int columns = 1; columns < 200; ++columns) {
    const ProgressBar bar(out, terminal(columns), {}, 0);
    for (const int step : {0, 1, 500, 999, 1000, 2000})
      EXPECT_LT(bar.text(at(step), 10).size(),
                std::max(static_cast<std::size_t>(columns), std::size_t{2}));
  }
}

TEST(ProgressBar, ABatchJobGetsPlainLinesNowAndThen) {
  std::ostringstream out;
  ProgressBar bar(out, batch_job(), {}, 0);
  for (int i = 1; i <= 200; ++i) bar.update(at(i), i * 0.1);
  EXPECT_EQ(count(out.str(), '\n'), 4U) << out.str();
  EXPECT_EQ(count(out.str(), '\r') + count(out.str(), '\x1b') + count(out.str(), '['), 0U);
  bar.finish(20);
  EXPECT_EQ(count(out.str(), '\n'), 4U) << "the last state stands there already";
}

TEST(ProgressBar, ABatchJobGetsALineEveryNumberOfSteps) {
  std::ostringstream out;
  ProgressBar::Options o = batch_job();
  o.log_every = 50;
  ProgressBar bar(out, o, {}, 0);
  for (int i = 1; i <= 220; ++i) bar.update(at(i), i * 0.001);
  EXPECT_EQ(count(out.str(), '\n'), 4U) << out.str();
  bar.finish(1);
  EXPECT_EQ(count(out.str(), '\n'), 5U);
}

TEST(ProgressBar, OtherRanksPrintNothing) {
  std::ostringstream out;
  ProgressBar::Options o = terminal();
  o.enabled = false;
  ProgressBar bar(out, o, {}, 0);
  bar.update(at(1), 100);
  bar.note("x");
  bar.finish(101);
  EXPECT_EQ(out.str(), "");
}

TEST(ProgressBar, TheTimeLeftOfAResumedRunCountsOnlyItsOwnSteps) {
  std::ostringstream out;
  const ProgressBar bar(out, terminal(), at(900), 50);
  EXPECT_NE(bar.text(at(950), 60).find("10.0 s left"), std::string::npos);
  EXPECT_EQ(bar.text(at(900), 60).find("left"), std::string::npos);
}

TEST(ProgressBar, UnknownTotalsAndValuesAreLeftOut) {
  std::ostringstream out;
  ProgressBar::Options o = terminal();
  o.total_steps = 0;
  o.total_epochs = 0;
  const ProgressBar bar(out, o, {}, 0);
  RunProgress p;
  p.step = 7;
  p.epoch = 0.5;
  EXPECT_EQ(bar.text(p, 3), "epoch 1 step 7");
}

TEST(ProgressBar, ANoteStandsAboveTheBar) {
  std::ostringstream out;
  ProgressBar bar(out, terminal(), {}, 0);
  bar.update(at(500), 1);
  const std::string drawn = out.str();
  bar.note("checkpoint written");
  const std::string added = out.str().substr(drawn.size());
  EXPECT_EQ(added.find("\r\x1b[Kcheckpoint written\nepoch 6/10"), 0U) << added;
}

}  // namespace
}  // namespace phalanx
