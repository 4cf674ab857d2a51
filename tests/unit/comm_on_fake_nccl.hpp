// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/nccl.hpp"
#include "comm_on_gpu.hpp"
#include "core/log.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// Ranks as threads, a GPU each, with the fake in the place of NCCL.
class Nccl : public testing::Test {
 protected:
  static constexpr const char* kVariables[] = {
      "FAKE_NCCL_FAIL", "FAKE_NCCL_ASYNC", "FAKE_NCCL_NEVER", "FAKE_NCCL_VERSION", "FAKE_NCCL_LOG"};

  Nccl() {
    configure_log(LogLevel::kInfo, 0, 1);
    forget();
    library_ = std::make_shared<NcclLibrary>(PHALANX_FAKE_NCCL);
    remove_logs();
    setenv("FAKE_NCCL_LOG", log_.c_str(), 1);
  }
  ~Nccl() override {
    forget();
    remove_logs();
  }

  /// body(rank, make) on a thread for every rank; make() gives its communicator.
  template <class Body>
  void run(int ranks, Body body, double deadline_seconds = 60) {
    auto hosts = make_thread_communicators(ranks, Progress::kInline, deadline_seconds);
    std::vector<std::jthread> threads;
    for (int r = 0; r < ranks; ++r)
      threads.emplace_back([&, r] {
        body(r, [&, r] {
          return make_nccl_communicator(std::move(hosts[r]), library_,
                                        {.device = gpus_.device(r),
                                         .host = fmt::format("node{}", r),
                                         .deadline_seconds = deadline_seconds});
        });
      });
  }

  /// The same with the looks of a communicator for the host.
  template <class Check>
  void run_check(int ranks, Check check) {
    run(ranks, [&](int r, auto make) {
      OnGpu comm(make(), gpus_.device(r));
      check(comm);
    });
  }

  std::string log(int rank) const { return fmt::format("{}.{}", log_, rank); }
  /// What a rank called, but for questions.
  std::vector<std::string> calls(int rank) const {
    std::ifstream file(log(rank));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);)
      if (line != "ncclCommGetAsyncError") lines.push_back(line);
    return lines;
  }

  EmulatedGpus gpus_;
  std::shared_ptr<const NcclLibrary> library_;

 private:
  static void forget() {
    for (const char* name : kVariables) unsetenv(name);
  }
  void remove_logs() const {
    for (int r = 0; r < EmulatedGpus::kCount; ++r) std::filesystem::remove(log(r));
  }
  std::string log_ =
      std::filesystem::temp_directory_path() /
      fmt::format("phalanx_nccl_{}", std::filesystem::read_symlink("/proc/self").string());
};

/// Device memory of ones on a stream.
class Ones {
 public:
  Ones(std::int64_t count, Stream& stream)
      : stream_(stream), tensor_({DType::kF32, {count}}, stream) {
    const std::vector<float> ones(static_cast<std::size_t>(count), 1.0f);
    upload(std::as_bytes(std::span(ones)), view().as<std::byte>(), stream);
  }
  TensorView view() const { return tensor_.view(); }
  /// The first element, as the stream finds it now.
  float first() const {
    float value = 0;
    download(view().as<std::byte>(), std::as_writable_bytes(std::span(&value, 1)), stream_);
    return value;
  }

 private:
  Stream& stream_;
  Tensor tensor_;
};

template <class F>
std::string comm_error_of(F f) {
  try {
    f();
  } catch (const CommError& e) {
    return e.what();
  }
  return "no CommError";
}

}  // namespace phalanx
