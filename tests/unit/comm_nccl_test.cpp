// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl.hpp"

#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "comm/collectives_plan.hpp"
#include "comm_checks.hpp"
#include "comm_on_fake_nccl.hpp"
#include "comm_reducer_checks.hpp"
#include "emulation/polled_queue.hpp"

namespace phalanx {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class NcclRanks : public Nccl, public testing::WithParamInterface<int> {};

TEST_P(NcclRanks, DoEveryCollective) {
  run_check(GetParam(), [](Communicator& comm) { comm_checks::check_collectives<float>(comm); });
}

TEST_P(NcclRanks, WaitForRequestsInAnyOrder) {
  run_check(GetParam(), [](Communicator& comm) { comm_checks::check_requests(comm); });
}

TEST_P(NcclRanks, ReduceGradientsInAnyChunking) {
  run(GetParam(), [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const auto comm = make();
    comm_checks::check_reducer_on_gpu(*comm, stream);
    comm_checks::check_compression_on_gpu(*comm, stream);
  });
}

INSTANTIATE_TEST_SUITE_P(Groups, NcclRanks, testing::Values(1, 2, 3, 4),
                         [](const auto& of) { return fmt::format("{}Ranks", of.param); });

TEST_F(Nccl, SumsIntegers) {
  run_check(3, [](Communicator& comm) {
    comm_checks::check_all_reduce<std::int64_t>(comm, 1023, ReduceOp::kMin);
    comm_checks::check_all_reduce<std::int32_t>(comm, 1023, ReduceOp::kSum);
  });
}

TEST_F(Nccl, LeavesTensorsOfTheHostThere) {
  run(2, [](int, auto make) {
    const auto comm = make();
    comm_checks::check_collectives<std::int32_t>(*comm);
    comm_checks::check_requests(*comm);
  });
  EXPECT_THAT(calls(0),
              ElementsAre("ncclCommInitRankConfig", "ncclCommFinalize", "ncclCommDestroy"));
}

// 2 ranks have equal parts of 4096, and parts of 2 blocks and 1 of 3000.
TEST_F(Nccl, TakesOneOperationForEqualPartsAndOneEachForOthers) {
  run(2, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const auto comm = make();
    for (const std::int64_t count : {4096, 3000, 1000, 0}) {
      const Ones x(count, stream);
      comm->wait(comm->start_reduce_scatter(x.view(), ReduceOp::kSum, stream, "x"));
      comm->wait(comm->start_all_gather(x.view(), stream, "x"));
      comm->synchronize(stream);
    }
  });
  EXPECT_THAT(calls(1),
              ElementsAre("ncclCommInitRankConfig", "ncclReduceScatter", "ncclAllGather",
                          "ncclReduce", "ncclReduce", "ncclBroadcast", "ncclBroadcast",
                          "ncclReduce", "ncclBroadcast", "ncclCommFinalize", "ncclCommDestroy"));
}

TEST_F(Nccl, SendsAGroupTogether) {
  run(2, [&](int r, auto make) {
    Stream stream(gpus_.device(r)), other(gpus_.device(r));
    const auto comm = make();
    const Ones x(10, stream), y(20, stream);
    EXPECT_THROW(comm->end_group(), InvalidArgument);
    comm->begin_group();
    EXPECT_THROW(comm->begin_group(), InvalidArgument);
    const Request one = comm->start_all_reduce(x.view(), ReduceOp::kSum, stream, "x");
    const Request two = comm->start_all_reduce(y.view(), ReduceOp::kSum, stream, "y");
    EXPECT_THROW(comm->start_all_reduce(y.view(), ReduceOp::kSum, other, "z"), InvalidArgument);
    EXPECT_THROW(comm->wait(one), InvalidArgument);
    comm->end_group();
    comm->wait(one);
    comm->wait(two);
    comm->synchronize(stream);
    EXPECT_EQ(x.first(), 2);
    EXPECT_EQ(y.first(), 2);
    EXPECT_EQ(comm->measured(one)->ended, comm->measured(two)->ended);
  });
}

// Rank 1 comes to the sum much later. Rank 0 has gone on by then, but for its stream.
TEST_F(Nccl, NeverWaitsOnTheHostButToSynchronize) {
  std::atomic<bool> has_gone_on{false};
  run(2, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const auto comm = make();
    const Ones x(10, stream);
    if (r == 1)
      while (!has_gone_on) std::this_thread::yield();
    const auto begun = std::chrono::steady_clock::now();
    const Request request = comm->start_all_reduce(x.view(), ReduceOp::kSum, stream, "x");
    const RequestTimes times = comm->wait(request);
    EXPECT_EQ(times.begun, times.ended);
    EXPECT_FALSE(comm->measured(request));
    const auto waited = std::chrono::steady_clock::now();
    if (r == 0) {
      EXPECT_FALSE(stream.is_done());
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      has_gone_on = true;
    }
    comm->synchronize(stream);
    EXPECT_EQ(x.first(), 2);
    const auto measured = comm->measured(request);
    ASSERT_TRUE(measured);
    EXPECT_LE(begun, measured->queued);
    EXPECT_LE(measured->queued, measured->begun);
    EXPECT_LE(measured->begun, measured->ended);
    EXPECT_LE(measured->ended, std::chrono::steady_clock::now());
    if (r == 0) {
      EXPECT_GE(measured->ended - waited, std::chrono::milliseconds(40));
    }
    comm->synchronize(stream);
    EXPECT_FALSE(comm->measured(request));
  });
}

// Rank 1 has a bucket ready 60 ms late, and rank 0's stream does nothing else.
TEST_F(Nccl, LetsAReducerMeasureWhatWasExposed) {
  run(2, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const auto comm = make();
    const Ones arena(2048, stream);
    GradientReducer reducer(*comm, arena.view(), {.bucket_bytes = 4096, .first_bucket_bytes = 4096},
                            stream);
    for (int step = 0; step < 2; ++step) {
      comm->barrier();
      if (r == 1) std::this_thread::sleep_for(std::chrono::milliseconds(60));
      const OverlapTimes seen = reducer.finish(stream);
      EXPECT_LT(seen.exposed_seconds, 0.05);
      comm->synchronize(stream);
      if (r == 1) continue;
      const OverlapTimes measured = reducer.measure();
      EXPECT_GE(measured.exposed_seconds, 0.05);
      EXPECT_GE(measured.communication_seconds, 0.05);
      EXPECT_LT(measured.hidden_share(), 0.2);
      const auto& buckets = reducer.last_step();
      EXPECT_GE(buckets[0].exposed_seconds, 0.05);
      EXPECT_LE(buckets[0].times.ended, buckets[1].times.begun);
    }
  });
}

// The same of parameters that are gathered behind the sums, in the time of one step.
TEST_F(Nccl, LetsAReducerMeasureAGather) {
  run(2, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const auto comm = make();
    const Ones gradients(2048, stream), parameters(2048, stream);
    GradientReducer reducer(*comm, gradients.view(), {.scatter = true}, stream);
    for (int step = 0; step < 2; ++step) {
      reducer.finish(stream);
      comm->barrier();
      if (r == 1) std::this_thread::sleep_for(std::chrono::milliseconds(60));
      reducer.gather(parameters.view(), stream);
      comm->synchronize(stream);
      if (r == 1) continue;
      const OverlapTimes measured = reducer.measure();
      EXPECT_GE(measured.exposed_seconds, 0.05);
      EXPECT_GE(measured.communication_seconds, 0.05);
      for (const GradientReducer::Bucket& bucket : reducer.last_step())
        EXPECT_LT(bucket.exposed_seconds, 0.05);
    }
  });
}

TEST_F(Nccl, GivesZeroedMemoryOfTheDevice) {
  run(2, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const auto comm = make();
    std::vector<float> found(1000, 1.0f);
    const std::byte* memory = comm->allocate(4000, stream);
    download(memory, std::as_writable_bytes(std::span(found)), stream);
    EXPECT_THAT(found, testing::Each(0.0f));
  });
}

// --- what goes wrong

TEST_F(Nccl, NamesTheCollectiveWhosePeerIsLost) {
  run(
      2,
      [&](int r, auto make) {
        Stream stream(gpus_.device(r));
        const auto comm = make();
        const Ones x(10, stream);
        comm->all_reduce(x.view(), ReduceOp::kSum, stream);
        comm->synchronize(stream);
        comm->barrier();
        if (r == 1) return;
        const Request request =
            comm->start_all_reduce(x.view(), ReduceOp::kSum, stream, "bucket 7");
        comm->wait(request);
        const auto begun = std::chrono::steady_clock::now();
        EXPECT_THAT(comm_error_of([&] { comm->synchronize(stream); }),
                    AllOf(HasSubstr("rank 0 on node0 waited 0."),
                          HasSubstr(" s in all_reduce #2 (bucket 7)")));
        EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
        EXPECT_THROW(comm->poll(), CommError);
        EXPECT_THROW(comm->all_reduce(x.view(), ReduceOp::kSum, stream), CommError);
        EXPECT_THROW(comm->synchronize(stream), CommError);
        EXPECT_THROW(comm->wait(request), CommError);
        comm->abort();
      },
      0.3);
  EXPECT_THAT(calls(0), ElementsAre("ncclCommInitRankConfig", "ncclAllReduce", "ncclAllReduce",
                                    "ncclCommAbort"));
  EXPECT_THAT(calls(1), ElementsAre("ncclCommInitRankConfig", "ncclAllReduce", "ncclCommFinalize",
                                    "ncclCommDestroy"));
}

// Long work of its own before a collective is not waiting for others.
TEST_F(Nccl, CountsNoTimeBeforeTheCollectiveRuns) {
  run(
      2,
      [&](int r, auto make) {
        Stream stream(gpus_.device(r));
        const auto comm = make();
        const Ones x(10, stream);
        auto* queue =
            static_cast<simt::Queue*>(static_cast<BackendStream*>(stream.handle())->queue);
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(900);
        dynamic_cast<emulation::PolledQueue*>(queue)->add_polled(
            [end] { return std::chrono::steady_clock::now() > end; });
        comm->all_reduce(x.view(), ReduceOp::kSum, stream);
        EXPECT_NO_THROW(comm->synchronize(stream));
        EXPECT_EQ(x.first(), 2);
      },
      0.4);
}

TEST_F(Nccl, ThrowsWhatItReportsLater) {
  setenv("FAKE_NCCL_ASYNC", "0 2 6", 1);
  run(2, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const auto comm = make();
    const Ones x(10, stream);
    comm->all_reduce(x.view(), ReduceOp::kSum, stream);
    comm->synchronize(stream);
    if (r == 1) return;
    EXPECT_THAT(
        comm_error_of([&] {
          comm->wait(comm->start_all_reduce(x.view(), ReduceOp::kSum, stream, "bucket 3"));
          comm->synchronize(stream);
        }),
        "rank 0 on node0: NCCL failed in all_reduce #2 (bucket 3): remote process exited or "
        "there was a network error: said the fake");
    EXPECT_THROW(comm->poll(), CommError);
  });
  EXPECT_THAT(calls(0), ElementsAre("ncclCommInitRankConfig", "ncclAllReduce", "ncclAllReduce",
                                    "ncclCommAbort"));
}

class NcclRefusal : public Nccl, public testing::WithParamInterface<const char*> {};

// At the second call, since the first is still making connections.
TEST_P(NcclRefusal, IsThrown) {
  setenv("FAKE_NCCL_FAIL", fmt::format("0 {} 2 3", GetParam()).c_str(), 1);
  run(
      2,
      [&](int r, auto make) {
        Stream stream(gpus_.device(r));
        const auto comm = make();
        const Tensor x({DType::kF32, {4096}}, stream), y({DType::kF32, {3000}}, stream),
            z({DType::kF32, {2, 4096}}, stream);
        const auto once = [&] {
          comm->all_reduce(x.view(), ReduceOp::kSum, stream);
          comm->broadcast(x.view(), 0, stream);
          comm->all_gather(x.view(), z.view(), stream);
          comm->wait(comm->start_reduce_scatter(x.view(), ReduceOp::kSum, stream, "x"));
          comm->wait(comm->start_reduce_scatter(y.view(), ReduceOp::kSum, stream, "y"));
        };
        if (r == 1) {
          EXPECT_THROW(once(); once(); comm->synchronize(stream), CommError);
          return;
        }
        EXPECT_THAT(comm_error_of([&] {
                      once();
                      once();
                    }),
                    AllOf(HasSubstr("rank 0 on node0: NCCL refused "),
                          HasSubstr(": some other error: said the fake")));
        EXPECT_THROW(comm->poll(), CommError);
      },
      0.4);
  EXPECT_EQ(calls(0).back(), "ncclCommAbort");
  EXPECT_THAT(calls(0), testing::Contains("ncclCommAbort").Times(1));
}

INSTANTIATE_TEST_SUITE_P(Functions, NcclRefusal,
                         testing::Values("ncclAllReduce", "ncclBroadcast", "ncclAllGather",
                                         "ncclReduceScatter", "ncclReduce"),
                         [](const auto& of) { return std::string(of.param); });

TEST_F(Nccl, RefusesToGroupIsThrown) {
  run(1, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    const Ones x(10, stream);
    for (const char* function : {"ncclGroupStart", "ncclGroupEnd"}) {
      auto comm =
          make_nccl_communicator(make_single_communicator(), library_, {.device = gpus_.device(r)});
      setenv("FAKE_NCCL_FAIL", fmt::format("0 {} 1 3", function).c_str(), 1);
      EXPECT_THAT(comm_error_of([&] { comm->all_reduce(x.view(), ReduceOp::kSum, stream); }),
                  HasSubstr("NCCL refused all_reduce #1: some other error"));
      unsetenv("FAKE_NCCL_FAIL");
    }
    make();
  });
}

// --- the start

class NcclStart : public Nccl, public testing::WithParamInterface<std::tuple<const char*, int>> {};

TEST_P(NcclStart, EndsOnAllRanksIfItFailsOnOne) {
  const auto [function, nth] = GetParam();
  setenv("FAKE_NCCL_FAIL", fmt::format("1 {} {} 3", function, nth).c_str(), 1);
  const auto begun = std::chrono::steady_clock::now();
  run(3, [&](int, auto make) {
    EXPECT_THAT(comm_error_of(make), AllOf(HasSubstr("NCCL could not start: rank "),
                                           HasSubstr(" failed: some other error: said the fake")));
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
  for (int r = 0; r < 3; ++r)
    for (const std::string& call : calls(r))
      EXPECT_TRUE(call == "ncclCommInitRankConfig" || call == "ncclCommAbort") << call;
}

INSTANTIATE_TEST_SUITE_P(Functions, NcclStart,
                         testing::Values(std::tuple("ncclGetUniqueId", 1),
                                         std::tuple("ncclCommInitRankConfig", 1),
                                         std::tuple("ncclCommGetAsyncError", 2)),
                         [](const auto& of) { return std::string(std::get<0>(of.param)); });

TEST_F(Nccl, ThatNeverStartsIsLeftAtTheDeadline) {
  setenv("FAKE_NCCL_NEVER", "1", 1);
  const auto begun = std::chrono::steady_clock::now();
  run(
      3,
      [&](int r, auto make) {
        EXPECT_THAT(comm_error_of(make),
                    AllOf(HasSubstr(fmt::format("rank {} on node{} waited 0.", r, r)),
                          HasSubstr(" s for NCCL to start; not ready: rank 1 on node1")));
      },
      0.5);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
  for (int r = 0; r < 3; ++r)
    EXPECT_THAT(calls(r), ElementsAre("ncclCommInitRankConfig", "ncclCommAbort"));
}

TEST_F(Nccl, WhoseRankDiesAtTheStartIsLeftByTheOthers) {
  run(
      3,
      [&](int r, auto make) {
        if (r == 1) return;
        EXPECT_THAT(comm_error_of(make), HasSubstr("missing: rank 1"));
      },
      0.3);
}

TEST_F(Nccl, IsAbortedWhenAnExceptionUnwinds) {
  run(1, [&](int, auto make) {
    try {
      const auto comm = make();
      throw Error("another");
    } catch (const Error&) {
    }
  });
  EXPECT_THAT(calls(0), ElementsAre("ncclCommInitRankConfig", "ncclCommAbort"));
}

TEST_F(Nccl, LibraryThatCannotServeIsNamed) {
  const auto error_of = [](const std::string& library) -> std::string {
    try {
      NcclLibrary opened(library);
    } catch (const Unsupported& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of("/nowhere/libnccl.so.2"),
              HasSubstr("NCCL cannot be opened: /nowhere/libnccl.so.2"));
  EXPECT_EQ(error_of("libm.so.6"),
            "libm.so.6 is no NCCL of version 2.14 or later: it has no function ncclGetVersion");
  setenv("FAKE_NCCL_VERSION", "21303", 1);
  EXPECT_THAT(error_of(PHALANX_FAKE_NCCL),
              HasSubstr("is NCCL of version 21303: 2.14 is needed at least"));
}

// --- the choice

class DeviceCommunicators : public Nccl {
 protected:
  /// The plan of rank 0, whose communicator has summed.
  CollectivesPlan plan_for(int ranks, bool is_shared, const std::string& library) {
    auto hosts = make_thread_communicators(ranks, Progress::kInline);
    CollectivesPlan found;
    std::vector<std::jthread> threads;
    for (int r = 0; r < ranks; ++r)
      threads.emplace_back([&, r] {
        RankLayout layout = single_rank_layout();
        layout.node_of.assign(static_cast<std::size_t>(ranks), 0);
        const Device device = gpus_.device(is_shared ? 0 : r);
        Stream stream(device);
        auto [comm, plan] = make_device_communicator(std::move(hosts[r]), layout,
                                                     {.device = device, .nccl = library});
        const Ones x(5000, stream);
        comm->all_reduce(x.view(), ReduceOp::kSum, stream);
        comm->synchronize(stream);
        EXPECT_EQ(x.first(), static_cast<float>(ranks));
        if (r == 0) found = plan;
      });
    threads.clear();
    return found;
  }
};

TEST_F(DeviceCommunicators, UseNcclOrHostMemoryAsPlanned) {
  EXPECT_TRUE(plan_for(3, false, PHALANX_FAKE_NCCL).uses_nccl);
  EXPECT_THAT(plan_for(2, true, PHALANX_FAKE_NCCL).reason, HasSubstr("ranks 0 and 1 share GPU"));
  EXPECT_THAT(plan_for(2, false, "/nowhere/libnccl.so").reason,
              HasSubstr("rank 0 has no NCCL: sums go through pinned host memory (NCCL cannot be "
                        "opened: /nowhere/libnccl.so"));
  EXPECT_FALSE(plan_for(1, false, PHALANX_FAKE_NCCL).uses_nccl);
}

}  // namespace
}  // namespace phalanx
