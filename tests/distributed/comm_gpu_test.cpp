// SPDX-License-Identifier: Apache-2.0
// Sums over ranks on emulated GPUs, through pinned memory that the ranks of a node share.
#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <tuple>

#include "comm/collectives_plan.hpp"
#include "mpi_main.hpp"
#include "unit/comm_on_gpu.hpp"
#include "unit/comm_reducer_checks.hpp"

namespace phalanx {
namespace {

// The second parameter is the most ranks a node is taken to hold, 0 for as many as it does.
class StagedMpiCommunicator : public testing::TestWithParam<std::tuple<Progress, int>> {
 protected:
  std::unique_ptr<Communicator> make_host(double deadline_seconds = 60) {
    return make_mpi_communicator(test_mpi(), std::get<0>(GetParam()), deadline_seconds,
                                 std::get<1>(GetParam()));
  }
  std::unique_ptr<OnGpu> make() {
    return std::make_unique<OnGpu>(make_staged_communicator(make_host(), gpus_.device(0)),
                                   gpus_.device(0));
  }

  EmulatedGpus gpus_;
};

TEST_P(StagedMpiCommunicator, DoesEveryCollectiveOfF32) {
  comm_checks::check_collectives<float>(*make());
}

TEST_P(StagedMpiCommunicator, WaitsForRequestsInAnyOrder) { comm_checks::check_requests(*make()); }

TEST_P(StagedMpiCommunicator, ReducesGradients) {
  const auto comm = make();
  comm_checks::check_reducer_on_gpu(comm->tested(), comm->stream());
  comm_checks::check_compression_on_gpu(comm->tested(), comm->stream());
}

// Through stages of 4 MiB, the pieces of a long sum are the same.
TEST_P(StagedMpiCommunicator, GivesTheBitsOfTheHost) {
  const auto host = make_host();
  const auto gpu = make();
  Stream stream{Device{}};
  constexpr std::int64_t kCount = 2'500'000;
  std::vector<float> expected(kCount), found(kCount);
  for (std::int64_t i = 0; i < kCount; ++i)
    expected[static_cast<std::size_t>(i)] = found[static_cast<std::size_t>(i)] =
        comm_checks::input<float>(i, host->rank());
  host->all_reduce({expected.data(), {DType::kF32, {kCount}}}, ReduceOp::kSum, stream);
  gpu->all_reduce({found.data(), {DType::kF32, {kCount}}}, ReduceOp::kSum, stream);
  EXPECT_EQ(expected, found);
}

TEST_P(StagedMpiCommunicator, IsAnMpiGroup) { EXPECT_NE(make()->tested().native_mpi(), nullptr); }

TEST_P(StagedMpiCommunicator, NamesTheRankThatDoesNotCome) {
  if (test_mpi().size() == 1) GTEST_SKIP() << "one rank never waits";
  auto comm = make_staged_communicator(make_host(0.5), gpus_.device(0));
  Stream stream(gpus_.device(0));
  const Tensor data({DType::kF32, {100'000}}, stream);
  comm->barrier();
  if (comm->rank() == 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    comm.release();  // its end would be collective, and the others have given up
    return;
  }
  try {
    comm->wait(comm->start_all_reduce(data.view(), ReduceOp::kSum, stream, "bucket 7"));
    ADD_FAILURE() << "no CommError";
  } catch (const CommError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("(bucket 7); missing: "));
    EXPECT_THAT(e.what(),
                testing::ContainsRegex(fmt::format("^rank {} on .+ waited 0\\.", comm->rank())));
  }
  EXPECT_THROW(comm->barrier(), CommError);
}

// All ranks are on one host, and take its only emulated GPU.
TEST(MpiDeviceCommunicator, GoesThroughHostMemoryWhereRanksShareAGpu) {
  const EmulatedGpus gpus;
  const RankLayout layout = make_rank_layout(test_mpi());
  const auto [comm, plan] = make_device_communicator(
      make_mpi_communicator(test_mpi(), Progress::kInline, 60), layout, {.device = gpus.device(0)});
  EXPECT_FALSE(plan.uses_nccl);
  if (layout.size == 1)
    EXPECT_EQ(plan.reason, "one rank: there is nothing to sum");
  else
    EXPECT_THAT(plan.reason, testing::HasSubstr("share GPU"));
}

std::string case_name(const testing::TestParamInfo<std::tuple<Progress, int>>& info) {
  const auto [progress, most] = info.param;
  const std::string how = progress == Progress::kThread ? "ProgressThread" : "Inline";
  return most == 0 ? how : fmt::format("{}With{}RanksANode", how, most);
}

INSTANTIATE_TEST_SUITE_P(Modes, StagedMpiCommunicator,
                         testing::Values(std::tuple(Progress::kInline, 0),
                                         std::tuple(Progress::kInline, 1),
                                         std::tuple(Progress::kInline, 2),
                                         std::tuple(Progress::kThread, 0)),
                         case_name);

}  // namespace
}  // namespace phalanx
