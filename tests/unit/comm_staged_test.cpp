// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "comm_checks.hpp"
#include "comm_on_gpu.hpp"
#include "comm_reducer_checks.hpp"
#include "comm_threads.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

using comm_checks::Guarded;

class StagedCommunicators : public testing::TestWithParam<std::tuple<int, Progress>> {
 protected:
  /// All of them on one GPU, which is when they are needed.
  std::vector<std::unique_ptr<Communicator>> make(double deadline_seconds = 60) {
    auto comms = make_thread_communicators(std::get<0>(GetParam()), std::get<1>(GetParam()),
                                           deadline_seconds);
    std::vector<std::jthread> threads;
    for (auto& comm : comms)
      threads.emplace_back([&] {
        comm = std::make_unique<OnGpu>(make_staged_communicator(std::move(comm), gpus_.device(0)),
                                       gpus_.device(0));
      });
    return comms;
  }

  EmulatedGpus gpus_;
};

TEST_P(StagedCommunicators, DoEveryCollectiveOfF32) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) { comm_checks::check_collectives<float>(comm); });
}

TEST_P(StagedCommunicators, DoEveryCollectiveOfI64) {
  auto comms = make();
  run_threads(comms,
              [](Communicator& comm) { comm_checks::check_collectives<std::int64_t>(comm); });
}

TEST_P(StagedCommunicators, WaitForRequestsInAnyOrder) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) { comm_checks::check_requests(comm); });
}

TEST_P(StagedCommunicators, LeaveTensorsOfTheHostThere) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) {
    Communicator& tested = static_cast<OnGpu&>(comm).tested();
    comm_checks::check_collectives<std::int32_t>(tested);
    comm_checks::check_requests(tested);
  });
}

// Rank 0 waits for its request before the sum on the host, the others after it.
TEST_P(StagedCommunicators, KeepTheOrderOfTheirCalls) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) {
    auto& gpu = static_cast<OnGpu&>(comm);
    Stream cpu{Device{}};
    const Tensor x({DType::kF32, {5000}}, gpu.stream());
    fill_zero(x.view().as<std::byte>(), 20000, gpu.stream());
    const Request request =
        gpu.tested().start_all_reduce(x.view(), ReduceOp::kSum, gpu.stream(), "first");
    if (comm.rank() == 0) gpu.tested().wait(request);
    float one = 1;
    gpu.tested().all_reduce({&one, {DType::kF32, {1}}}, ReduceOp::kSum, cpu);
    EXPECT_EQ(one, static_cast<float>(comm.size()));
    if (comm.rank() != 0) gpu.tested().wait(request);
    gpu.tested().synchronize(gpu.stream());
  });
}

TEST_P(StagedCommunicators, ReduceGradientsInAnyChunking) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) {
    auto& gpu = static_cast<OnGpu&>(comm);
    comm_checks::check_reducer_on_gpu(gpu.tested(), gpu.stream());
  });
}

TEST_P(StagedCommunicators, CompressGradientsToTheBitsOfTheHost) {
  auto comms = make();
  run_threads(comms, [](Communicator& comm) {
    auto& gpu = static_cast<OnGpu&>(comm);
    comm_checks::check_compression_on_gpu(gpu.tested(), gpu.stream());
  });
}

std::string case_name(const testing::TestParamInfo<std::tuple<int, Progress>>& info) {
  const bool thread = std::get<1>(info.param) == Progress::kThread;
  return fmt::format("{}Ranks{}", std::get<0>(info.param),
                     thread ? "WithProgressThread" : "Inline");
}

INSTANTIATE_TEST_SUITE_P(Groups, StagedCommunicators,
                         testing::Values(std::tuple(1, Progress::kInline),
                                         std::tuple(2, Progress::kInline),
                                         std::tuple(3, Progress::kInline),
                                         std::tuple(4, Progress::kInline),
                                         std::tuple(3, Progress::kThread)),
                         case_name);

TEST(StagedCommunicator, GivesZeroedMemoryOfTheDevice) {
  const EmulatedGpus gpus;
  Stream stream(gpus.device(0));
  const auto comm = make_staged_communicator(make_single_communicator(), gpus.device(0));
  std::vector<float> found(1000, 1.0f);
  const std::byte* memory = comm->allocate(4000, stream);
  download(memory, std::as_writable_bytes(std::span(found)), stream);
  EXPECT_THAT(found, testing::Each(0.0f));
}

TEST(StagedCommunicator, RefusesOtherDevices) {
  const EmulatedGpus gpus;
  EXPECT_THROW(make_staged_communicator(make_single_communicator(), Device{}), InvalidArgument);
  const auto comm = make_staged_communicator(make_single_communicator(), gpus.device(0));
  Stream other(gpus.device(1));
  const Tensor x({DType::kF32, {4}}, other);
  EXPECT_THROW(comm->all_reduce(x.view(), ReduceOp::kSum, other), InvalidArgument);
}

TEST(StagedCommunicator, NamesTheRankThatDoesNotCome) {
  configure_log(LogLevel::kInfo, 0, 1);
  const EmulatedGpus gpus;
  auto comms = make_thread_communicators(2, Progress::kInline, 0.3);
  std::vector<std::jthread> threads;
  for (int r = 0; r < 2; ++r)
    threads.emplace_back([&, r] {
      Stream stream(gpus.device(r));
      const auto comm = make_staged_communicator(std::move(comms[r]), gpus.device(r));
      const Tensor x({DType::kF32, {100}}, stream);
      comm->barrier();
      if (r == 1) return;
      const Request request = comm->start_all_reduce(x.view(), ReduceOp::kSum, stream, "bucket 7");
      try {
        comm->wait(request);
        ADD_FAILURE() << "no CommError";
      } catch (const CommError& e) {
        EXPECT_THAT(e.what(), testing::HasSubstr("(bucket 7); missing: rank 1"));
      }
      EXPECT_THROW(comm->poll(), CommError);
      EXPECT_THROW(comm->wait(request), CommError);
      EXPECT_THROW(comm->barrier(), CommError);
    });
}

}  // namespace
}  // namespace phalanx
