// SPDX-License-Identifier: Apache-2.0
#include "device/device_graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

#include "comm_on_gpu.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {
namespace {

using testing::HasSubstr;

/// A number in pinned memory that a stream takes to the device, doubles and brings back.
class Doubled {
 public:
  explicit Doubled(Stream& stream)
      : from_({DType::kF32, Shape{}}, stream.device()),
        to_({DType::kF32, Shape{}}, stream.device()),
        between_({DType::kF32, Shape{}}, stream) {
    set(0);
    *to_.as<float>().data() = 0;
  }
  void send(Stream& stream) const { upload(from_.view(), between_.view(), stream); }
  void scale(Stream& stream) const { phalanx::scale(between_.view(), 2, stream); }
  void fetch(Stream& stream) const { download(between_.view(), to_.view(), stream); }
  void set(float value) { *from_.as<float>().data() = value; }
  float result() const { return *to_.as<float>().data(); }

 private:
  HostTensor from_, to_;
  Tensor between_;
};

class EmulatedGraph : public testing::Test {
 protected:
  std::string error_of_capture(Stream& stream, const std::function<void()>& enqueue) {
    try {
      const DeviceGraph graph(stream, enqueue);
    } catch (const DeviceError& e) {
      return e.what();
    }
    return "no error";
  }

  EmulatedGpus gpus_;
  Stream stream_{gpus_.device(0)}, other_{gpus_.device(0)};
};

TEST_F(EmulatedGraph, RunsAtEachLaunchAndNotWhenItIsCaptured) {
  Doubled number(stream_);
  number.set(1);
  EXPECT_FALSE(stream_.is_captured());
  const DeviceGraph graph(stream_, [&] {
    EXPECT_TRUE(stream_.is_captured());
    number.send(stream_);
    number.scale(stream_);
    number.fetch(stream_);
  });
  EXPECT_FALSE(stream_.is_captured());
  stream_.synchronize();
  EXPECT_EQ(number.result(), 0);
  for (const float value : {3.0f, 5.0f}) {
    number.set(value);
    graph.launch(stream_);
    stream_.synchronize();
    EXPECT_EQ(number.result(), 2 * value);
  }
}

TEST_F(EmulatedGraph, TakesStreamsThatJoinAndAreJoinedBack) {
  Doubled number(stream_);
  Event there(stream_.device()), back(stream_.device());
  const DeviceGraph graph(stream_, [&] {
    number.send(stream_);
    there.record(stream_);
    there.hold(other_);
    number.scale(other_);
    back.record(other_);
    back.hold(stream_);
    number.fetch(stream_);
  });
  number.set(4);
  graph.launch(stream_);
  stream_.synchronize();
  EXPECT_EQ(number.result(), 8);
  number.scale(other_);  // it is a stream like others again
  other_.synchronize();
}

// What does not wait for another branch comes before it, or not at all.
TEST_F(EmulatedGraph, ShowsThatAWaitIsMissing) {
  Doubled number(stream_);
  Event there(stream_.device()), back(stream_.device());
  const DeviceGraph graph(stream_, [&] {
    number.send(stream_);
    there.record(stream_);
    there.hold(other_);
    number.scale(other_);
    back.record(other_);
    number.fetch(stream_);  // too early
    back.hold(stream_);
  });
  number.set(4);
  graph.launch(stream_);
  stream_.synchronize();
  EXPECT_EQ(number.result(), 4);
}

TEST_F(EmulatedGraph, RefusesADecisionOfTheHost) {
  Doubled number(stream_);
  Event event(stream_.device()), timed(stream_.device(), Event::Clock::kDevice);
  Event before(stream_.device());
  before.record(other_);
  event.record(stream_);
  float value = 0;
  const std::span<float> one(&value, 1);
  const std::pair<const char*, std::function<void()>> cases[] = {
      {"a wait of the host for a stream", [&] { stream_.synchronize(); }},
      {"a wait of the host for a stream", [&] { other_.synchronize(); }},
      {"a question whether a stream is done", [&] { (void)stream_.is_done(); }},
      {"a question whether an event is past", [&] { (void)event.is_past(); }},
      {"an event whose time is taken", [&] { timed.record(stream_); }},
      {"an event from before its capture", [&] { before.hold(stream_); }},
      {"a request for memory", [&] { const Buffer buffer(16, stream_); }},
      {"a request for pinned memory", [&] { const PinnedBuffer buffer(16, stream_.device()); }},
      {"a copy to host memory that is not pinned",
       [&] {
         const Buffer buffer;
         download(buffer.data(), std::as_writable_bytes(one), stream_);
       }},
      {"a copy from host memory that is not pinned",
       [&] { upload(std::as_bytes(one), nullptr, stream_); }},
      {"another capture", [&] { const DeviceGraph graph(other_, [] {}); }},
  };
  for (const auto& [error, action] : cases) {
    EXPECT_THAT(error_of_capture(stream_,
                                 [&, &action = action] {
                                   number.send(stream_);
                                   action();
                                 }),
                HasSubstr(error));
    EXPECT_FALSE(stream_.is_captured());
    number.set(1);
    number.send(stream_);
    number.fetch(stream_);
    stream_.synchronize();
    EXPECT_EQ(number.result(), 1) << "after: " << error;
  }
}

TEST_F(EmulatedGraph, SaysAtItsEndWhatWasWrong) {
  Event there(stream_.device());
  Buffer buffer(16, stream_);
  EXPECT_THAT(error_of_capture(stream_, [&] { buffer = Buffer(); }), HasSubstr("memory was freed"));
  const Tensor x({DType::kF32, Shape{4}}, stream_);
  EXPECT_THAT(error_of_capture(stream_,
                               [&] {
                                 there.record(stream_);
                                 there.hold(other_);
                                 fill_zero(x.view(), other_);
                               }),
              HasSubstr("not joined back"));
  EXPECT_THROW(there.hold(stream_), DeviceError);  // of a capture that has ended
  EXPECT_THROW((void)there.is_past(), DeviceError);
}

TEST_F(EmulatedGraph, IsMovedAndEmptied) {
  Doubled number(stream_);
  DeviceGraph graph(stream_, [&] { number.send(stream_); }), other;
  EXPECT_TRUE(other.is_empty());
  other = std::move(graph);
  EXPECT_TRUE(graph.is_empty());
  EXPECT_THROW(graph.launch(stream_), InvalidArgument);
  other.launch(stream_);
  stream_.synchronize();
  other.reset();
  EXPECT_TRUE(other.is_empty());
  Stream cpu{Device{}};
  EXPECT_THROW(DeviceGraph(cpu, [] {}), Unsupported);
}

}  // namespace
}  // namespace phalanx
