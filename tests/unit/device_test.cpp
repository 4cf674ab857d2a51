// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "device/buffer.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

using testing::HasSubstr;

class Backend : public testing::Test {
 protected:
  void SetUp() override { unsetenv("PHALANX_FAKE_BACKEND_CALLS"); }
  /// What the backend was asked to do since the last question.
  static std::string calls() {
    const char* found = std::getenv("PHALANX_FAKE_BACKEND_CALLS");
    std::string text = found == nullptr ? "" : found;
    unsetenv("PHALANX_FAKE_BACKEND_CALLS");
    return text;
  }
  static Device device_of(const LoadedBackend& backend) {
    return {DeviceKind::kCuda, 1, &backend.get()};
  }
};

std::string error_of(const std::string& library) {
  try {
    LoadedBackend backend(library);
  } catch (const Unsupported& e) {
    return e.what();
  }
  return "no error";
}

TEST_F(Backend, WhichIsMissingOrIsNoneIsNamed) {
  EXPECT_THAT(error_of("/nowhere/libnone.so"),
              HasSubstr("the backend /nowhere/libnone.so cannot be opened: "));
  EXPECT_EQ(error_of("libm.so.6"),
            "libm.so.6 is no backend: it has no function phalanx_make_backend");
  EXPECT_THAT(error_of(PHALANX_OLD_BACKEND), HasSubstr("was built for another version than 5"));
}

TEST_F(Backend, GivesMemoryInTheOrderOfTheStreamAndTakesAllOfItBack) {
  {
    const LoadedBackend backend(PHALANX_FAKE_BACKEND);
    Stream stream(device_of(backend));
    EXPECT_EQ(calls(), "stream-on-1");
    {
      Buffer one(100, stream), none(0, stream);
      Buffer moved = std::move(one);
      EXPECT_EQ(one.data(), nullptr);
      moved = Buffer(200, stream);
      EXPECT_EQ(none.data(), nullptr);
    }
    EXPECT_EQ(calls(), "allocate allocate free free");
    EXPECT_THROW(Buffer(2000, stream), OutOfMemory);
    stream.synchronize();
    EXPECT_EQ(calls(), "synchronize");
  }
  EXPECT_EQ(calls(), "stream-ends end");
}

TEST_F(Backend, CopiesToTheDeviceAndBack) {
  const LoadedBackend backend(PHALANX_FAKE_BACKEND);
  Stream stream(device_of(backend));
  const Buffer buffer(3, stream);
  const std::array<std::byte, 3> from{std::byte{1}, std::byte{2}, std::byte{3}};
  std::array<std::byte, 3> to{};
  calls();
  upload(from, buffer.data(), stream);
  download(buffer.data(), to, stream);
  upload({}, nullptr, stream);
  EXPECT_EQ(calls(), "upload download");
  EXPECT_EQ(to, from);
  PinnedBuffer one(10, stream.device());
  PinnedBuffer other = std::move(one);
  one = PinnedBuffer(0, stream.device());
  other = PinnedBuffer(20, Device{});
  EXPECT_NE(other.data(), nullptr);
  EXPECT_EQ(calls(), "allocate-pinned free-pinned");
}

TEST_F(Backend, PinsMemoryOfOthersWhereItCan) {
  const LoadedBackend backend(PHALANX_FAKE_BACKEND);
  std::array<std::byte, 200> memory{};
  calls();
  {
    const Pin part(memory.data(), 100, device_of(backend)),
        all(memory.data(), 200, device_of(backend));
    EXPECT_TRUE(part.holds());
    EXPECT_FALSE(all.holds());
  }
  EXPECT_EQ(calls(), "pin pin unpin");
  EXPECT_FALSE(Pin(memory.data(), 100, Device{}).holds());
  EXPECT_EQ(calls(), "");
}

TEST_F(Backend, LetsStreamsWaitForEachOther) {
  const LoadedBackend backend(PHALANX_FAKE_BACKEND);
  Stream one(device_of(backend)), other(device_of(backend)), cpu{Device{}};
  Event event(one.device());
  calls();
  event.record(one);
  event.hold(other);
  EXPECT_EQ(calls(), "record wait");
  EXPECT_TRUE(one.is_done());
  EXPECT_TRUE(event.is_past());
  EXPECT_EQ(calls(), "is-done");
  EXPECT_EQ(seconds_between(event, event), 0.25);
  EXPECT_THROW(event.record(cpu), InvalidArgument);
  EXPECT_THROW(event.hold(cpu), InvalidArgument);
  Event nothing(cpu.device());
  nothing.record(cpu);
  nothing.hold(cpu);
  EXPECT_TRUE(cpu.is_done() && nothing.is_past());
  EXPECT_EQ(seconds_between(nothing, nothing), 0);
  EXPECT_THROW(seconds_between(nothing, event), InvalidArgument);
  EXPECT_EQ(calls(), "");
}

TEST_F(Backend, HasTheKernelsOfItsOperators) {
  const LoadedBackend backend(PHALANX_FAKE_BACKEND);
  Stream stream(device_of(backend));
  calls();
  const TensorType type(DType::kF32, Shape{4});
  const Buffer x(16, stream), y(16, stream);
  const ConstTensorView in{x.data(), type};
  const TensorView out{y.data(), type};
  run_forward(find_operator("relu"), {}, {&in, 1}, {&out, 1}, stream);
  EXPECT_THAT(calls(), HasSubstr("relu"));
  EXPECT_THROW(kernels_for(find_operator("gelu"), stream.device()), Unsupported);
}

TEST(CudaHalf, OpensWithAllThatItCalls) {
#ifdef PHALANX_CUDA_HALF
  const LoadedBackend backend(PHALANX_CUDA_HALF);
  for (const OpSpec* op : all_operators())
    EXPECT_NE(backend.get().kernels(op->name), nullptr) << op->name;
  EXPECT_TRUE(backend.get().about().is_hardware);
  EXPECT_THAT(backend.get().about().versions,
              testing::ContainsRegex("driver .*, runtime 1[2-9].*, cuBLASLt 1[2-9].*, cuDNN 9"));
#else
  GTEST_SKIP() << "built without CUDA, or for a sanitizer";
#endif
}

TEST(CpuDevice, CopiesBetweenHostAndHost) {
  Stream stream{Device{}};
  const Buffer buffer(3, stream);
  const std::array<std::byte, 3> from{std::byte{1}, std::byte{2}, std::byte{3}};
  std::array<std::byte, 3> to{};
  upload(from, buffer.data(), stream);
  download(buffer.data(), to, stream);
  EXPECT_EQ(to, from);
}

TEST(CpuDevice, IsTheOnlyOneThatNeedsNoBackend) {
  EXPECT_THROW(Stream({DeviceKind::kCuda, 0}), Unsupported);
}

}  // namespace
}  // namespace phalanx
