// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/error.hpp"
#include "serve/batch_policy.hpp"
#include "serve/shared_arena.hpp"
#include "serve/stats.hpp"
#include "unit/data_testing.hpp"

namespace phalanx {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using testing::expect_error;

QueueView waiting(std::int64_t rows, nanoseconds oldest = {}, std::int64_t idle_ranks = 1) {
  QueueView view;
  view.rows = rows;
  view.oldest_wait = oldest;
  view.rows_per_second = 1e6;
  view.longest_delay = milliseconds(2);
  view.idle_ranks = idle_ranks;
  return view;
}

TEST(BatchPolicy, SendsNothingFromAnEmptyQueue) { EXPECT_EQ(decide_batch({}, waiting(0)).rows, 0); }

TEST(BatchPolicy, SendsAFullBatchAtOnceAlsoBehindOneThatRuns) {
  for (std::int64_t idle_ranks : {0, 1, 2})
    for (std::int64_t rows : {64, 65, 1000})
      EXPECT_EQ(decide_batch({}, waiting(rows, {}, idle_ranks)).rows, 64);
}

TEST(BatchPolicy, SendsTheLargestPreferredSizeThatIsThere) {
  ModelConfig config;
  config.preferred_batch_sizes = {8, 16};
  EXPECT_EQ(decide_batch(config, waiting(7)).rows, 0);
  EXPECT_EQ(decide_batch(config, waiting(8)).rows, 8);
  EXPECT_EQ(decide_batch(config, waiting(15, {}, 0)).rows, 8);
  EXPECT_EQ(decide_batch(config, waiting(63)).rows, 16);
  EXPECT_EQ(decide_batch(config, waiting(64)).rows, 64);
}

TEST(BatchPolicy, WaitsForTheDelayOfTheFirstRequestAndNoLonger) {
  const BatchDecision early = decide_batch({}, waiting(5, milliseconds(1)));
  EXPECT_EQ(early.rows, 0);
  EXPECT_EQ(early.wait, milliseconds(1));
  EXPECT_EQ(decide_batch({}, waiting(5, milliseconds(2))).rows, 5);
  EXPECT_EQ(decide_batch({}, waiting(5, milliseconds(30))).rows, 5);
}

TEST(BatchPolicy, DoesNotWaitWithoutADelay) {
  QueueView view = waiting(1);
  view.longest_delay = nanoseconds::zero();
  EXPECT_EQ(decide_batch({}, view).rows, 1);
}

TEST(BatchPolicy, DoesNotWaitWhenNobodyElseIsToBeExpected) {
  QueueView view = waiting(3);
  view.rows_per_second = 400;  // of which 0.8 come in the delay of 2 ms
  EXPECT_EQ(decide_batch({}, view).rows, 3);
  view.rows_per_second = 600;
  EXPECT_EQ(decide_batch({}, view).rows, 0);
}

TEST(BatchPolicy, DoesNotWaitWhenAllClientsOfLateAreHere) {
  QueueView view = waiting(3);
  view.most_in_flight = 8;
  view.running_rows = 5;
  view.next_free = milliseconds(3);  // those that run come back too late to be waited for
  EXPECT_EQ(decide_batch({}, view).rows, 3);
  view.next_free = milliseconds(1);
  EXPECT_EQ(decide_batch({}, view).rows, 0);
  view.running_rows = 0;
  EXPECT_EQ(decide_batch({}, view).rows, 0);
  view.most_in_flight = 3;
  EXPECT_EQ(decide_batch({}, view).rows, 3);
}

TEST(BatchPolicy, SharesOutAmongIdleRanksWhereThatSavesTime) {
  QueueView view = waiting(7, milliseconds(2), 3);
  view.service_time = milliseconds(10);
  view.share_time = milliseconds(8);
  EXPECT_EQ(decide_batch({}, view).rows, 3);
  EXPECT_EQ(decide_batch({}, view).batches, 3);
  view.share_time = milliseconds(9);
  EXPECT_EQ(decide_batch({}, view).rows, 7);
  EXPECT_EQ(decide_batch({}, view).batches, 1);
}

TEST(DelayControl, KeepsThePercentileOfAnswersToItsTarget) {
  ModelConfig config;
  config.max_queue_delay_us = 16'000;
  config.target_p99_ms = 20;
  DelayControl control(config);
  const auto window = [&](int late) {
    for (int i = 0; i < 128; ++i) control.answered(milliseconds(i < late ? 21 : 20));
  };
  window(1);
  EXPECT_EQ(control.longest(), milliseconds(16));
  window(2);
  EXPECT_EQ(control.longest(), milliseconds(8));
  window(128);
  EXPECT_EQ(control.longest(), milliseconds(4));
  window(0);
  EXPECT_EQ(control.longest(), milliseconds(5));
  for (int i = 0; i < 20; ++i) window(0);
  EXPECT_EQ(control.longest(), milliseconds(16));  // never longer than the delay

  config.target_p99_ms = 0;
  DelayControl none(config);
  for (int i = 0; i < 1000; ++i) none.answered(milliseconds(1000));
  EXPECT_EQ(none.longest(), milliseconds(16));
}

TEST(BatchPolicy, SendsNoPartBehindABatchThatStillRuns) {
  const BatchDecision decision = decide_batch({}, waiting(63, milliseconds(50), 0));
  EXPECT_EQ(decision.rows, 0);
  EXPECT_GT(decision.wait, nanoseconds::zero());
}

TEST(BatchPolicy, WaitsLessWhereAnswersWouldMissTheirTarget) {
  ModelConfig config;
  config.target_p99_ms = 20;
  QueueView view = waiting(4);
  view.longest_delay = milliseconds(50);
  view.service_time = milliseconds(8);
  EXPECT_EQ(decide_batch(config, view).wait, milliseconds(4));
  view.service_time = milliseconds(12);  // there is no time to wait at all
  EXPECT_EQ(decide_batch(config, view).rows, 4);
  config.target_p99_ms = 1000;  // never longer than the delay
  EXPECT_EQ(decide_batch(config, view).wait, milliseconds(50));
}

TEST(SharedArena, GivesAlignedPiecesThatDoNotOverlap) {
  SharedArena arena(1 << 20);
  std::vector<SharedBlock> blocks;
  for (std::size_t bytes : {1u, 63u, 64u, 65u, 1000u, 4096u})
    blocks.push_back(arena.allocate(bytes));
  std::size_t end = 0;
  for (const SharedBlock& block : blocks) {
    EXPECT_EQ(block->offset() % 64, 0u);
    EXPECT_GE(block->offset(), end);
    end = block->offset() + block->size_bytes();
    std::fill_n(block->data(), block->size_bytes(), std::byte{7});
  }
  EXPECT_EQ(arena.used_bytes(), 64u + 64 + 64 + 128 + 1024 + 4096);
}

TEST(SharedArena, JoinsWhatIsGivenBackInAnyOrder) {
  constexpr std::size_t kPiece = 1024, kPieces = 64;
  SharedArena arena(kPiece * kPieces);
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<SharedBlock> blocks;
    for (std::size_t i = 0; i < kPieces; ++i) blocks.push_back(arena.allocate(kPiece));
    std::ranges::shuffle(blocks, random);
    while (!blocks.empty()) blocks.pop_back();
    EXPECT_EQ(arena.used_bytes(), 0u);
    EXPECT_EQ(arena.allocate(kPiece * kPieces)->offset(), 0u);
  }
}

TEST(SharedArena, SaysWhenItIsFullAndGoesOnAfterwards) {
  SharedArena arena(8192);
  SharedBlock first = arena.allocate(4096), gap = arena.allocate(2048);
  const SharedBlock last = arena.allocate(2048);
  expect_error<OutOfMemory>([&] { arena.allocate(1); }, {"are in use"});
  gap.reset();
  expect_error<OutOfMemory>([&] { arena.allocate(2049); }, {"are in use"});
  EXPECT_EQ(arena.allocate(2048)->offset(), 4096u);
  expect_error<OutOfMemory>([&] { arena.allocate(static_cast<std::size_t>(-1)); }, {"no room"});
  first.reset();
  EXPECT_NO_THROW(arena.allocate(6144));
}

TEST(LatencyHistogram, HasNoQuantileWithoutValues) {
  EXPECT_EQ(LatencyHistogram().quantile(0.5), 0);
}

TEST(LatencyHistogram, CountsABoundIntoItsOwnBucket) {
  LatencyHistogram histogram;
  histogram.add(50e-6);
  histogram.add(51e-6);
  histogram.add(100);
  EXPECT_EQ(histogram.in_bucket(0), 1u);
  EXPECT_EQ(histogram.in_bucket(1), 1u);
  EXPECT_EQ(histogram.in_bucket(LatencyHistogram::kBounds.size()), 1u);
  EXPECT_EQ(histogram.count(), 3u);
  EXPECT_NEAR(histogram.sum(), 100.000101, 1e-9);
}

TEST(LatencyHistogram, InterpolatesQuantilesWithinABucket) {
  LatencyHistogram histogram;
  for (int i = 0; i < 100; ++i) histogram.add(1.5e-3);  // all between 1 and 2 ms
  EXPECT_NEAR(histogram.quantile(0.5), 1.5e-3, 1e-9);
  EXPECT_NEAR(histogram.quantile(0.99), 1.99e-3, 1e-9);
  for (int i = 0; i < 100; ++i) histogram.add(15e-3);
  EXPECT_NEAR(histogram.quantile(0.25), 1.5e-3, 1e-9);
  EXPECT_NEAR(histogram.quantile(0.75), 15e-3, 1e-9);
  EXPECT_EQ(histogram.quantile(1), 20e-3);
}

}  // namespace
}  // namespace phalanx
