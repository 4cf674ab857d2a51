// SPDX-License-Identifier: Apache-2.0
// Sums over ranks in graphs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "comm/gradient_reducer.hpp"
#include "comm_on_fake_nccl.hpp"

namespace phalanx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class CapturedCollectives : public Nccl {};

/// Floats in pinned memory and on the device.
class Arena {
 public:
  Arena(std::int64_t count, Stream& stream)
      : on_host_({DType::kF32, Shape{count}}, stream.device()),
        on_device_(on_host_.type(), stream) {}
  std::span<float> values() const { return on_host_.as<float>(); }
  TensorView view() const { return on_device_.view(); }
  void send(Stream& stream) const { upload(on_host_.view(), view(), stream); }
  void fetch(Stream& stream) const { download(view(), on_host_.view(), stream); }

 private:
  HostTensor on_host_;
  Tensor on_device_;
};

// The first step runs as it is, and is timed; the second is captured.
TEST_F(CapturedCollectives, SumWhatIsThereAtEachLaunch) {
  constexpr std::int64_t kCount = 7919, kGradients = kCount - 16;
  for (const bool scatter : {false, true})
    for (const bool compress : {false, true})
      run(2, [&](int r, auto make) {
        Stream stream(gpus_.device(r));
        const auto comm = make();
        ASSERT_TRUE(comm->can_be_captured());
        const Arena arena(kCount, stream);
        GradientReducer reducer(*comm, arena.view(),
                                {.bucket_bytes = 8192,
                                 .first_bucket_bytes = 400,
                                 .gradients = kGradients,
                                 .scatter = scatter,
                                 .compress = compress},
                                stream);
        const auto step = [&] {
          arena.send(stream);
          for (const std::int64_t end : {1500, 4000}) reducer.ready(end, stream);
          const OverlapTimes times = reducer.finish(stream);
          if (stream.is_captured()) {
            EXPECT_EQ(times.communication_seconds + times.exposed_seconds, 0);
          }
          if (scatter)
            reducer.gather({arena.view().data, {DType::kF32, Shape{kGradients}}}, stream);
          arena.fetch(stream);
        };
        std::shared_ptr<DeviceGraph> graph;
        for (int number = 0; number < 5; ++number) {
          std::ranges::fill(arena.values(), static_cast<float>(1 + r + 2 * number));
          if (number == 0)
            step();
          else if (number == 1)
            graph = std::make_shared<DeviceGraph>(stream, step);
          if (number > 0) comm->launch(graph, stream);
          if (number > 1) reducer.forget_times();
          comm->synchronize(stream);
          EXPECT_THAT(arena.values(), testing::Each(3.0f + 4.0f * static_cast<float>(number)));
          const OverlapTimes times = reducer.measure();
          EXPECT_EQ(times.communication_seconds > 0, number == 0);
          for (const GradientReducer::Bucket& bucket : reducer.last_step())
            if (number > 0) {
              EXPECT_EQ(bucket.times.begun, bucket.times.ended);
              EXPECT_EQ(bucket.exposed_seconds, 0);
            }
        }
        const Ones x(10, stream);  // beside the graph
        comm->all_reduce(x.view(), ReduceOp::kSum, stream);
        comm->synchronize(stream);
        EXPECT_EQ(x.first(), 2);
      });
}

TEST_F(CapturedCollectives, HaveADeadline) {
  run(
      2,
      [&](int r, auto make) {
        Stream stream(gpus_.device(r));
        const auto comm = make();
        const Ones x(10, stream);
        comm->all_reduce(x.view(), ReduceOp::kSum, stream);
        comm->synchronize(stream);
        const auto graph = std::make_shared<DeviceGraph>(
            stream, [&] { comm->all_reduce(x.view(), ReduceOp::kSum, stream); });
        comm->launch(graph, stream);
        comm->synchronize(stream);
        comm->barrier();
        if (r == 1) return;
        comm->launch(graph, stream);
        EXPECT_THAT(comm_error_of([&] { comm->synchronize(stream); }),
                    AllOf(HasSubstr("rank 0 on node0 waited 0."),
                          HasSubstr(" s in launch #2 of captured collectives")));
        EXPECT_TRUE(graph->is_empty());  // NCCL would wait for it
        EXPECT_THROW(comm->launch(graph, stream), CommError);
        comm->abort();
      },
      0.3);
  EXPECT_EQ(calls(0).back(), "ncclCommAbort");
}

// NCCL would wait for the end of the capture.
TEST_F(CapturedCollectives, EndNcclAfterTheCapture) {
  setenv("FAKE_NCCL_FAIL", "0 ncclAllReduce 2 3", 1);
  run(1, [&](int r, auto make) {
    Stream stream(gpus_.device(r));
    std::vector<std::string> calls_in_capture;
    {
      const auto comm = make();
      const Ones x(10, stream);
      comm->all_reduce(x.view(), ReduceOp::kSum, stream);
      comm->synchronize(stream);
      EXPECT_THAT(comm_error_of([&] {
                    const DeviceGraph graph(stream, [&] {
                      EXPECT_THROW(comm->all_reduce(x.view(), ReduceOp::kSum, stream), CommError);
                      calls_in_capture = calls(0);
                      comm->poll();
                    });
                  }),
                  HasSubstr("NCCL refused all_reduce #2"));
      EXPECT_THROW(comm->poll(), CommError);
    }
    EXPECT_EQ(calls_in_capture.back(), "ncclAllReduce");
  });
  EXPECT_EQ(calls(0).back(), "ncclCommAbort");
}

}  // namespace
}  // namespace phalanx
