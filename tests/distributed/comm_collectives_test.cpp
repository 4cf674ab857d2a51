// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <tuple>

#include "comm/communicator.hpp"
#include "mpi_main.hpp"
#include "unit/comm_reducer_checks.hpp"

namespace phalanx {
namespace {

// The second parameter is the most ranks a node is taken to hold, 0 for as many as it does.
class MpiCommunicator : public testing::TestWithParam<std::tuple<Progress, int>> {
 protected:
  std::unique_ptr<Communicator> make(double deadline_seconds = 60) {
    return make_mpi_communicator(test_mpi(), std::get<0>(GetParam()), deadline_seconds,
                                 std::get<1>(GetParam()));
  }
};

TEST_P(MpiCommunicator, DoesEveryCollectiveOfF32) {
  comm_checks::check_collectives<float>(*make());
}

TEST_P(MpiCommunicator, DoesEveryCollectiveOfI64) {
  comm_checks::check_collectives<std::int64_t>(*make());
}

TEST_P(MpiCommunicator, DoesEveryCollectiveOfI32) {
  comm_checks::check_collectives<std::int32_t>(*make());
}

TEST_P(MpiCommunicator, WaitsForRequestsInAnyOrder) { comm_checks::check_requests(*make()); }

TEST_P(MpiCommunicator, ReducesGradientsInAnyChunking) {
  comm_checks::check_reducer_in_any_chunking(*make());
}

TEST_P(MpiCommunicator, GivesTheSameBitsAgain) {
  const auto comm = make();
  Stream stream{Device{}};
  std::vector<float> first(500'000), second(500'000);
  for (std::size_t i = 0; i < first.size(); ++i) {
    first[i] = second[i] = comm_checks::input<float>(static_cast<std::int64_t>(i), comm->rank());
  }
  comm->all_reduce({first.data(), {DType::kF32, {500'000}}}, ReduceOp::kSum, stream);
  comm->all_reduce({second.data(), {DType::kF32, {500'000}}}, ReduceOp::kSum, stream);
  EXPECT_EQ(first, second);
}

TEST_P(MpiCommunicator, IsAnMpiGroup) { EXPECT_NE(make()->native_mpi(), nullptr); }

TEST_P(MpiCommunicator, NamesTheRankThatDoesNotCome) {
  if (test_mpi().size() == 1) GTEST_SKIP() << "one rank never waits";
  auto comm = make(0.5);
  Stream stream{Device{}};
  std::vector<float> data(100'000);
  comm->barrier();
  if (comm->rank() == 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    comm.release();  // its end would be collective, and the others have given up
    return;
  }
  const auto begun = std::chrono::steady_clock::now();
  try {
    comm->wait(comm->start_all_reduce({data.data(), {DType::kF32, {100'000}}}, ReduceOp::kSum,
                                      stream, "bucket 7"));
    ADD_FAILURE() << "no CommError";
  } catch (const CommError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("in all_reduce #2 (bucket 7); missing: "));
    EXPECT_THAT(e.what(),
                testing::ContainsRegex(fmt::format("^rank {} on .+ waited 0\\.", comm->rank())));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
  EXPECT_THROW(comm->barrier(), CommError);
}

std::string case_name(const testing::TestParamInfo<std::tuple<Progress, int>>& info) {
  const auto [progress, most] = info.param;
  const std::string how = progress == Progress::kThread ? "ProgressThread" : "Inline";
  return most == 0 ? how : fmt::format("{}With{}RanksANode", how, most);
}

INSTANTIATE_TEST_SUITE_P(Modes, MpiCommunicator,
                         testing::Combine(testing::Values(Progress::kInline, Progress::kThread),
                                          testing::Values(0, 1, 2)),
                         case_name);

}  // namespace
}  // namespace phalanx
