// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"

namespace phalanx {

enum class Collective : std::uint8_t {
  kAllReduce,
  kBroadcast,
  kAllGather,
  kReduceScatter,
  kAllGatherParts
};

std::string_view name(Collective kind) noexcept;

/// One collective on device memory. Its arguments are checked.
struct DeviceCall {
  Collective kind;
  TensorView data;       ///< all_gather: what comes from everybody
  ConstTensorView mine;  ///< of all_gather
  ReduceOp op = ReduceOp::kSum;
  int root = 0;
  Stream* stream = nullptr;
  std::string label;
  std::uint64_t number = 0;  ///< among the calls on device memory, from 1

  /// "all_reduce #4121 (bucket 7)"
  std::string str() const;
};

/// What communicators for one GPU have in common: streams of the CPU lead to the host communicator, which also lends its
/// barrier; all other calls are checked and numbered.
class DeviceCommunicator : public Communicator {
 public:
  DeviceCommunicator(std::unique_ptr<Communicator> host, Device device);

  int rank() const noexcept final { return host_->rank(); }
  int size() const noexcept final { return host_->size(); }
  void all_reduce(TensorView data, ReduceOp op, Stream& stream) final;
  void broadcast(TensorView data, int root, Stream& stream) final;
  void all_gather(ConstTensorView mine, TensorView all, Stream& stream) final;
  Request start_all_reduce(TensorView data, ReduceOp op, Stream& stream, std::string label) final;
  Request start_reduce_scatter(TensorView data, ReduceOp op, Stream& stream,
                               std::string label) final;
  Request start_all_gather(TensorView data, Stream& stream, std::string label) final;
  RequestTimes wait(Request request) final;
  std::optional<RequestTimes> measured(Request request) final;
  std::byte* allocate(std::size_t size_bytes, Stream& stream) final;
  void barrier() final;
  void* native_mpi() noexcept final { return host_->native_mpi(); }

 protected:
  virtual void start(DeviceCall call) = 0;
  virtual RequestTimes wait_for(std::uint64_t number) = 0;
  virtual std::optional<RequestTimes> measured_call(std::uint64_t) { return std::nullopt; }
  /// All ranks come to the host's collectives in one order, so what waits to be done by them is done first.
  virtual void before_host_call() {}

  [[noreturn]] static void refuse_request(std::uint64_t number);  ///< that there is not

  Communicator& host() const noexcept { return *host_; }
  Device device() const noexcept { return device_; }
  Stream& cpu() noexcept { return cpu_; }

 private:
  bool is_host(const Stream& stream) const;
  Request begin(DeviceCall call);

  std::unique_ptr<Communicator> host_;
  Device device_;
  Stream cpu_{Device{}};
  std::uint64_t last_number_ = 0;
  Stream memory_stream_;  // of `memory_`: streams of callers may end before it
  Event is_zeroed_;
  std::vector<Buffer> memory_;  // of allocate()
};

}  // namespace phalanx
