// SPDX-License-Identifier: Apache-2.0
#include "comm/device_communicator.hpp"

#include <fmt/format.h>

#include <utility>

#include "comm/checks.hpp"
#include "core/error.hpp"

namespace phalanx {
namespace {

// Tells requests on device memory from those of the host communicator.
constexpr std::uint64_t kOnDevice = std::uint64_t{1} << 63;

Device require_gpu(Device device) {
  require(device.backend != nullptr, "this communicator is for a GPU, found the CPU");
  return device;
}

}  // namespace

std::string_view name(Collective kind) noexcept {
  switch (kind) {
    case Collective::kAllReduce: return "all_reduce";
    case Collective::kBroadcast: return "broadcast";
    case Collective::kAllGather:
    case Collective::kAllGatherParts: return "all_gather";
    case Collective::kReduceScatter: return "reduce_scatter";
  }
  return "?";
}

std::string DeviceCall::str() const {
  return fmt::format("{} #{}{}", name(kind), number,
                     label.empty() ? "" : fmt::format(" ({})", label));
}

DeviceCommunicator::DeviceCommunicator(std::unique_ptr<Communicator> host, Device device)
    : host_(std::move(host)),
      device_(require_gpu(device)),
      memory_stream_(device),
      is_zeroed_(device) {}

bool DeviceCommunicator::is_host(const Stream& stream) const {
  if (stream.device().kind == DeviceKind::kCpu) return true;
  require(stream.device() == device_, "the stream is not of the GPU that this communicator is for");
  return false;
}

Request DeviceCommunicator::begin(DeviceCall call) {
  call.number = ++last_number_;
  start(std::move(call));
  return {last_number_ | kOnDevice};
}

void DeviceCommunicator::all_reduce(TensorView data, ReduceOp op, Stream& stream) {
  wait(start_all_reduce(data, op, stream, {}));
}

void DeviceCommunicator::broadcast(TensorView data, int root, Stream& stream) {
  require_root(root, size());
  if (!is_host(stream)) {
    wait(begin({.kind = Collective::kBroadcast, .data = data, .root = root, .stream = &stream}));
    return;
  }
  before_host_call();
  host_->broadcast(data, root, stream);
}

void DeviceCommunicator::all_gather(ConstTensorView mine, TensorView all, Stream& stream) {
  require_parts(all.type, mine.type, size());
  if (!is_host(stream)) {
    wait(begin({.kind = Collective::kAllGather, .data = all, .mine = mine, .stream = &stream}));
    return;
  }
  before_host_call();
  host_->all_gather(mine, all, stream);
}

Request DeviceCommunicator::start_all_reduce(TensorView data, ReduceOp op, Stream& stream,
                                             std::string label) {
  require_reducible(data.type);
  if (!is_host(stream))
    return begin({.kind = Collective::kAllReduce,
                  .data = data,
                  .op = op,
                  .stream = &stream,
                  .label = std::move(label)});
  before_host_call();
  return host_->start_all_reduce(data, op, stream, std::move(label));
}

Request DeviceCommunicator::start_reduce_scatter(TensorView data, ReduceOp op, Stream& stream,
                                                 std::string label) {
  require_reducible(data.type);
  if (!is_host(stream))
    return begin({.kind = Collective::kReduceScatter,
                  .data = data,
                  .op = op,
                  .stream = &stream,
                  .label = std::move(label)});
  before_host_call();
  return host_->start_reduce_scatter(data, op, stream, std::move(label));
}

Request DeviceCommunicator::start_all_gather(TensorView data, Stream& stream, std::string label) {
  if (!is_host(stream))
    return begin({.kind = Collective::kAllGatherParts,
                  .data = data,
                  .stream = &stream,
                  .label = std::move(label)});
  before_host_call();
  return host_->start_all_gather(data, stream, std::move(label));
}

RequestTimes DeviceCommunicator::wait(Request request) {
  if ((request.id & kOnDevice) == 0) return host_->wait(request);
  return wait_for(request.id & ~kOnDevice);
}

std::optional<RequestTimes> DeviceCommunicator::measured(Request request) {
  if ((request.id & kOnDevice) == 0) return host_->measured(request);
  return measured_call(request.id & ~kOnDevice);
}

void DeviceCommunicator::refuse_request(std::uint64_t number) {
  throw InvalidArgument(fmt::format("request {} was never started, or waited for twice", number));
}

std::byte* DeviceCommunicator::allocate(std::size_t size_bytes, Stream& stream) {
  if (is_host(stream)) {
    before_host_call();
    return host_->allocate(size_bytes, stream);
  }
  std::byte* memory = memory_.emplace_back(size_bytes, memory_stream_).data();
  fill_zero(memory, size_bytes, memory_stream_);
  is_zeroed_.record(memory_stream_);
  is_zeroed_.hold(stream);
  return memory;
}

void DeviceCommunicator::barrier() {
  before_host_call();
  host_->barrier();
}

}  // namespace phalanx
