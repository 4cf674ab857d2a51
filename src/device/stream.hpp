// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device/device.hpp"

namespace phalanx {

/// Owns one in-order work queue. On the CPU the queue is empty: every call completes before it returns.
/// Not thread-safe: one thread enqueues at a time. Neither copied nor moved: buffers keep its address and die first.
class Stream {
 public:
  /// Throws    Unsupported if this build has no such device.
  explicit Stream(Device device);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() = default;

  Device device() const noexcept { return device_; }
  /// The host waits for all work enqueued so far; asynchronous errors are thrown here.
  void synchronize() {}

 private:
  Device device_;
};

}  // namespace phalanx
