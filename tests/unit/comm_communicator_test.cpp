// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.hpp"

#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <tuple>

#include "comm_checks.hpp"
#include "comm_threads.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

using comm_checks::Guarded;

TEST(SingleCommunicator, DoesEveryCollectiveAsOneRank) {
  const auto comm = make_single_communicator();
  comm_checks::check_collectives<float>(*comm);
  comm_checks::check_collectives<std::int64_t>(*comm);
  comm_checks::check_requests(*comm);
}

class ThreadCommunicators : public testing::TestWithParam<std::tuple<int, Progress>> {
 protected:
  std::vector<std::unique_ptr<Communicator>> make() {
    return make_thread_communicators(std::get<0>(GetParam()), std::get<1>(GetParam()));
  }
};

TEST_P(ThreadCommunicators, DoEveryCollectiveOfF32) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) { comm_checks::check_collectives<float>(comm); });
}

TEST_P(ThreadCommunicators, DoEveryCollectiveOfI64) {
  auto comms = make();
  run_threads(comms,
              [](Communicator& comm) { comm_checks::check_collectives<std::int64_t>(comm); });
}

TEST_P(ThreadCommunicators, DoEveryCollectiveOfI32) {
  auto comms = make();
  run_threads(comms,
              [](Communicator& comm) { comm_checks::check_collectives<std::int32_t>(comm); });
}

TEST_P(ThreadCommunicators, WaitForRequestsInAnyOrder) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) { comm_checks::check_requests(comm); });
}

// Of the inputs of ranks [begin, end).
float tree_sum(std::int64_t i, int begin, int end) {
  if (end - begin == 1) return comm_checks::input<float>(i, begin);
  int left = 1;
  while (2 * left < end - begin) left *= 2;
  return tree_sum(i, begin, begin + left) + tree_sum(i, begin + left, end);
}

TEST_P(ThreadCommunicators, SumInABinaryTreeOverRanks) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) {
    Stream stream{Device{}};
    constexpr std::int64_t kCount = 300'000;
    Guarded<float> data(kCount);
    for (std::int64_t i = 0; i < kCount; ++i)
      data.data()[i] = comm_checks::input<float>(i, comm.rank());
    comm.all_reduce(data.view(), ReduceOp::kSum, stream);
    for (std::int64_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(data.data()[i], tree_sum(i, 0, comm.size()));
    }
  });
}

TEST_P(ThreadCommunicators, RefuseATypeThatCannotBeReduced) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) {
    Stream stream{Device{}};
    Guarded<std::uint8_t> data(4);
    EXPECT_THROW(comm.all_reduce(data.view(), ReduceOp::kSum, stream), InvalidArgument);
    EXPECT_THROW(comm.broadcast(data.view(), comm.size(), stream), InvalidArgument);
    EXPECT_THROW(
        comm.all_gather(data.view(), Guarded<std::uint8_t>(4 * comm.size() + 1).view(), stream),
        InvalidArgument);
  });
}

std::string case_name(const testing::TestParamInfo<std::tuple<int, Progress>>& info) {
  const bool thread = std::get<1>(info.param) == Progress::kThread;
  return fmt::format("{}Ranks{}", std::get<0>(info.param),
                     thread ? "WithProgressThread" : "Inline");
}

INSTANTIATE_TEST_SUITE_P(Groups, ThreadCommunicators,
                         testing::Combine(testing::Values(1, 2, 3, 4),
                                          testing::Values(Progress::kInline, Progress::kThread)),
                         case_name);

class ThreadDeadline : public testing::TestWithParam<Progress> {
 protected:
  // As main does: before other threads start.
  void SetUp() override { configure_log(LogLevel::kInfo, 0, 1); }
};

TEST_P(ThreadDeadline, NamesTheRankThatDoesNotCome) {
  auto comms = make_thread_communicators(3, GetParam(), 0.3);
  run_threads(comms, [](Communicator& comm) {
    Stream stream{Device{}};
    Guarded<float> data(10);
    comm.barrier();
    if (comm.rank() == 1) return;
    const auto begun = std::chrono::steady_clock::now();
    try {
      comm.wait(comm.start_all_reduce(data.view(), ReduceOp::kSum, stream, "bucket 7"));
      ADD_FAILURE() << "no CommError";
    } catch (const CommError& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr(
                                fmt::format("rank {} on this process waited 0.", comm.rank())));
      EXPECT_THAT(e.what(),
                  testing::HasSubstr("in all_reduce #2 (bucket 7); missing: rank 1 (in call #1)"));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(3));
    EXPECT_THROW(comm.poll(), CommError);
    EXPECT_THROW(comm.barrier(), CommError);
  });
}

TEST_P(ThreadDeadline, AbortFreesTheOthers) {
  auto comms = make_thread_communicators(3, GetParam(), 60);
  const auto begun = std::chrono::steady_clock::now();
  run_threads(comms, [](Communicator& comm) {
    if (comm.rank() == 2) {
      comm.abort();
    } else {
      EXPECT_THROW(comm.barrier(), CommError);
    }
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST(ProgressThread, LeavesAPendingCollectiveWhenItsCommunicatorDies) {
  auto comms = make_thread_communicators(2, Progress::kThread, 60);
  Stream stream{Device{}};
  Guarded<float> data(10);
  const auto begun = std::chrono::steady_clock::now();
  comms[0]->start_all_reduce(data.view(), ReduceOp::kSum, stream, "never joined");
  comms.clear();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

std::string mode_name(const testing::TestParamInfo<Progress>& info) {
  return info.param == Progress::kThread ? "WithProgressThread" : "Inline";
}

INSTANTIATE_TEST_SUITE_P(Modes, ThreadDeadline,
                         testing::Values(Progress::kInline, Progress::kThread), mode_name);

}  // namespace
}  // namespace phalanx
