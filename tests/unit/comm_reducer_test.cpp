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
    std::vector<float> gradients(200, 1.0f);
    GradientReducer reducer(comm, {gradients.data(), {DType::kF32, {200}}}, 400, 400);
    reducer.ready(99, stream);  // one element short of the first bucket
    comm.barrier();
    EXPECT_EQ(gradients[0], 1.0f);
    gradients[99] = 5.0f;
    reducer.ready(199, stream);
    gradients[199] = 7.0f;
    reducer.finish(stream);
    EXPECT_EQ(gradients[0], 2.0f);
    EXPECT_EQ(gradients[99], 10.0f);
    EXPECT_EQ(gradients[199], 14.0f);
  });
}

std::string mode_name(const testing::TestParamInfo<Progress>& info) {
  return info.param == Progress::kThread ? "WithProgressThread" : "Inline";
}

INSTANTIATE_TEST_SUITE_P(Modes, Reducer, testing::Values(Progress::kInline, Progress::kThread),
                         mode_name);

TEST(ReducerArguments, RefuseAnArenaThatIsNotF32OfRankOne) {
  const auto comm = make_single_communicator();
  std::vector<float> x(4);
  EXPECT_THROW(GradientReducer(*comm, {x.data(), {DType::kF32, {2, 2}}}, 400), InvalidArgument);
  EXPECT_THROW(GradientReducer(*comm, {x.data(), {DType::kI32, {4}}}, 400), InvalidArgument);
  EXPECT_THROW(GradientReducer(*comm, {x.data(), {DType::kF32, {4}}}, 3), InvalidArgument);
}

TEST(ReducerArguments, RefuseAnEndBehindTheArena) {
  const auto comm = make_single_communicator();
  Stream stream{Device{}};
  std::vector<float> x(4);
  GradientReducer reducer(*comm, {x.data(), {DType::kF32, {4}}}, 400);
  EXPECT_THROW(reducer.ready(5, stream), InvalidArgument);
}

TEST(OverlapTimes, HiddenShareStaysBetweenZeroAndOne) {
  EXPECT_EQ((OverlapTimes{0, 0}).hidden_share(), 0);
  EXPECT_EQ((OverlapTimes{2, 1}).hidden_share(), 0.5);
  EXPECT_EQ((OverlapTimes{1, 3}).hidden_share(), 0);
}

}  // namespace
}  // namespace phalanx
