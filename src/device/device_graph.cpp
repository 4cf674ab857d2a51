// SPDX-License-Identifier: Apache-2.0
#include "device/device_graph.hpp"

#include <utility>

#include "core/error.hpp"
#include "device/backend.hpp"

namespace phalanx {

DeviceGraph::DeviceGraph(Stream& stream, const std::function<void()>& enqueue)
    : device_(stream.device()) {
  require<Unsupported>(device_.backend != nullptr, "only work of a GPU can be captured");
  device_.backend->begin_capture(stream.handle());
  stream.is_captured_ = true;
  try {
    enqueue();
  } catch (...) {
    stream.is_captured_ = false;
    try {  // the stream is to run again
      device_.backend->destroy_graph(device_.backend->end_capture(stream.handle()));
    } catch (const Error&) {  // of less interest than what was thrown first
    }
    throw;
  }
  stream.is_captured_ = false;
  handle_ = device_.backend->end_capture(stream.handle());
}

DeviceGraph::DeviceGraph(DeviceGraph&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}

DeviceGraph& DeviceGraph::operator=(DeviceGraph&& other) noexcept {
  if (this != &other) {
    reset();
    device_ = other.device_;
    handle_ = std::exchange(other.handle_, nullptr);
  }
  return *this;
}

void DeviceGraph::launch(Stream& stream) const {
  require(!is_empty(), "an empty graph was launched");
  require(stream.device() == device_, "a graph was launched on a stream of another device");
  device_.backend->launch_graph(handle_, stream.handle());
}

void DeviceGraph::reset() noexcept {
  if (handle_ != nullptr) device_.backend->destroy_graph(std::exchange(handle_, nullptr));
}

}  // namespace phalanx
