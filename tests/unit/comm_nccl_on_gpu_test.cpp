// SPDX-License-Identifier: Apache-2.0
// NCCL itself on one rank with a real GPU: GPU 0 of the backend that PHALANX_TEST_BACKEND names. PHALANX_TEST_NCCL names
// another library than libnccl.so.2, as the stand-in for emulated GPUs.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "comm/nccl.hpp"
#include "core/error.hpp"
#include "device/backend.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kElements = (1 << 20) + 3;

class NcclOnGpu : public testing::Test {
 protected:
  void SetUp() override {
    const char* backend = std::getenv("PHALANX_TEST_BACKEND");
    if (backend == nullptr) GTEST_SKIP() << "skipped: PHALANX_TEST_BACKEND names no backend";
    const char* nccl = std::getenv("PHALANX_TEST_NCCL");
    try {
      library_ = std::make_shared<NcclLibrary>(nccl == nullptr || *nccl == '\0' ? NcclLibrary::kName
                                                                                : nccl);
    } catch (const Unsupported& e) {
      GTEST_SKIP() << "skipped: " << e.what();
    }
    backend_.emplace(backend);
    const Device device{DeviceKind::kCuda, 0, &backend_->get()};
    stream_ = std::make_unique<Stream>(device);
    comm_ = make_nccl_communicator(make_single_communicator(), library_, {.device = device});
  }
  void TearDown() override {
    if (stream_) stream_->synchronize();
    comm_.reset();
  }

  /// 0, 1, 2, ... up to 255 and again: exact in every type.
  template <class T>
  Tensor counted(DType type, std::int64_t elements = kElements) {
    std::vector<T> values;
    for (std::int64_t i = 0; i < elements; ++i) values.push_back(T(static_cast<float>(i % 256)));
    Tensor made({type, Shape{elements}}, *stream_);
    upload({values.data(), made.type()}, made.view(), *stream_);
    stream_->synchronize();
    return made;
  }
  template <class T>
  void expect_counted(const Tensor& found) {
    comm_->synchronize(*stream_);
    const std::vector<T> values = values_of<T>(found.view(), *stream_);
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(static_cast<float>(values[i]), static_cast<float>(i % 256)) << i;
  }

  std::shared_ptr<NcclLibrary> library_;
  std::optional<LoadedBackend> backend_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Communicator> comm_;
};

TEST_F(NcclOnGpu, SumsOfOneRankAreWhatItBrought) {
  const Tensor f32 = counted<float>(DType::kF32), bf16 = counted<Bf16>(DType::kBf16);
  const Tensor i64 = counted<std::int64_t>(DType::kI64);
  for (const Tensor* t : {&f32, &bf16, &i64})
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax})
      comm_->all_reduce(t->view(), op, *stream_);
  expect_counted<float>(f32);
  expect_counted<Bf16>(bf16);
  expect_counted<std::int64_t>(i64);
}

TEST_F(NcclOnGpu, WhatIsScatteredAndGatheredComesBack) {
  const Tensor x = counted<float>(DType::kF32), all({DType::kF32, Shape{1, kElements}}, *stream_);
  comm_->wait(comm_->start_reduce_scatter(x.view(), ReduceOp::kSum, *stream_, "scatter"));
  comm_->wait(comm_->start_all_gather(x.view(), *stream_, "gather"));
  comm_->broadcast(x.view(), 0, *stream_);
  comm_->all_gather(x.view(), all.view(), *stream_);
  expect_counted<float>(x);
  expect_counted<float>(all);
}

TEST_F(NcclOnGpu, RunsBesideTheStreamThatWaitsForIt) {
  const Tensor x = counted<float>(DType::kF32);
  fill_zero(x.view(), *stream_);
  const Tensor from = counted<float>(DType::kF32);
  copy(from.view(), x.view(), *stream_);  // what is summed is what the stream has made
  const auto request = comm_->start_all_reduce(x.view(), ReduceOp::kSum, *stream_, "bucket 0");
  comm_->wait(request);
  scale(x.view(), 2.0f, *stream_);  // and what comes after sees the sum
  comm_->synchronize(*stream_);
  const std::vector<float> values = values_of<float>(x.view(), *stream_);
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(values[i], 2.0f * static_cast<float>(i % 256)) << i;
}

}  // namespace
}  // namespace phalanx
