// SPDX-License-Identifier: Apache-2.0
#include "comm/gradient_reducer.hpp"

#include <gtest/gtest.h>

#include "comm_reducer_checks.hpp"
#include "comm_threads.hpp"

namespace phalanx {
namespace {

class Reducer : public testing::TestWithParam<Progress> {};

TEST_P(Reducer, GivesTheSumHoweverTheArenaBecomesReady) {
  for (const int size : {1, 2, 3}) {
    auto comms = make_thread_communicators(size, GetParam());
    run_threads(comms,
                [](Communicator& comm) { comm_checks::check_reducer_in_any_chunking(comm); });
  }
}

TEST_P(Reducer, StartsABucketOnlyWhenAllOfItIsReady) {
  auto comms = make_thread_communicators(2, GetParam());
  run_threads(comms, [](Communicator& comm) {
    Stream stream{Device{}};
    std::vector<float> gradients(2048, 1.0f);
    GradientReducer reducer(comm, {gradients.data(), {DType::kF32, {2048}}},
                            {.bucket_bytes = 4096, .first_bucket_bytes = 4096}, stream);
    reducer.ready(1023, stream);  // one element short of the first bucket
    comm.barrier();
    EXPECT_EQ(gradients[0], 1.0f);
    gradients[1023] = 5.0f;
    reducer.ready(2047, stream);
    gradients[2047] = 7.0f;
    reducer.finish(stream);
    EXPECT_EQ(gradients[0], 2.0f);
    EXPECT_EQ(gradients[1023], 10.0f);
    EXPECT_EQ(gradients[2047], 14.0f);
  });
}

TEST_P(Reducer, AddsWhatRoundingTookInTheNextStep) {
  for (const int size : {1, 2, 3}) {
    auto comms = make_thread_communicators(size, GetParam());
    run_threads(comms, [](Communicator& comm) {
      Stream stream{Device{}};
      for (const bool scatter : {false, true})
        comm_checks::check_compression(comm, scatter, stream);
    });
  }
}

std::string mode_name(const testing::TestParamInfo<Progress>& info) {
  return info.param == Progress::kThread ? "WithProgressThread" : "Inline";
}

INSTANTIATE_TEST_SUITE_P(Modes, Reducer, testing::Values(Progress::kInline, Progress::kThread),
                         mode_name);

TEST(ReducerArguments, RefuseAnArenaThatIsNotF32OfRankOne) {
  const auto comm = make_single_communicator();
  std::vector<float> x(4);
  Stream stream{Device{}};
  const auto make = [&](const TensorType& type, const GradientReducer::Options& options) {
    GradientReducer(*comm, {x.data(), type}, options, stream);
  };
  EXPECT_THROW(make({DType::kF32, {2, 2}}, {}), InvalidArgument);
  EXPECT_THROW(make({DType::kI32, {4}}, {}), InvalidArgument);
  EXPECT_THROW(make({DType::kF32, {4}}, {.bucket_bytes = 3}), InvalidArgument);
  EXPECT_THROW(make({DType::kF32, {4}}, {.gradients = 5}), InvalidArgument);
}

TEST(ReducerArguments, RefuseAnEndBehindTheArena) {
  const auto comm = make_single_communicator();
  Stream stream{Device{}};
  std::vector<float> x(4);
  GradientReducer reducer(*comm, {x.data(), {DType::kF32, {4}}}, {}, stream);
  EXPECT_THROW(reducer.ready(5, stream), InvalidArgument);
}

TEST(OverlapTimes, HiddenShareStaysBetweenZeroAndOne) {
  EXPECT_EQ((OverlapTimes{0, 0}).hidden_share(), 0);
  EXPECT_EQ((OverlapTimes{2, 1}).hidden_share(), 0.5);
  EXPECT_EQ((OverlapTimes{1, 3}).hidden_share(), 0);
}

}  // namespace
}  // namespace phalanx
