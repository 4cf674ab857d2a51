// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "device/stream.hpp"

namespace phalanx {

/// Work of a GPU that was captured once and is launched again and again, by one call of the host in the place of one for each
/// kernel. See DeviceBackend::begin_capture for what may be captured. Move-only; empty at first and when moved from.
class DeviceGraph {
 public:
  DeviceGraph() noexcept = default;
  /// Calls `enqueue`; what that enqueues on the stream, and on streams that join, does not run but becomes the graph. All
  /// memory used has to outlive it.
  /// Throws    Unsupported on the CPU; DeviceError; what `enqueue` throws.
  DeviceGraph(Stream& stream, const std::function<void()>& enqueue);
  DeviceGraph(DeviceGraph&& other) noexcept;
  DeviceGraph& operator=(DeviceGraph&& other) noexcept;
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;
  ~DeviceGraph() { reset(); }

  bool is_empty() const noexcept { return handle_ == nullptr; }
  /// Enqueues all of it.
  /// Throws    DeviceError; InvalidArgument if it is empty.
  void launch(Stream& stream) const;
  void reset() noexcept;

 private:
  Device device_;
  void* handle_ = nullptr;
};

}  // namespace phalanx
