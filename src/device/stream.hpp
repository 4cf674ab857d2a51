// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "device/device.hpp"

namespace phalanx {

/// Owns one in-order work queue. On the CPU the queue is empty: every call completes before it returns.
/// Not thread-safe: one thread enqueues at a time. Neither copied nor moved: buffers keep its address and die first.
class Stream {
 public:
  /// Throws    Unsupported if the device is no CPU and has no backend; DeviceError.
  explicit Stream(Device device);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  Device device() const noexcept { return device_; }
  /// The host waits for all work enqueued so far; asynchronous errors are thrown here.
  void synchronize();
  /// Whether it would return at once.
  bool is_done() const;
  /// Whether what is enqueued becomes part of a DeviceGraph and does not run now.
  bool is_captured() const noexcept { return is_captured_; }
  /// Of the backend, for kernels; null on the CPU.
  void* handle() const noexcept { return handle_; }

 private:
  friend class DeviceGraph;

  Device device_;
  void* handle_ = nullptr;
  bool is_captured_ = false;
};

/// A place in a stream that other streams of the same device can wait for. On the CPU there is nothing to wait for.
class Event {
 public:
  enum class Clock : bool { kNone, kDevice };

  explicit Event(Device device, Clock clock = Clock::kNone);
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();

  /// All work enqueued on the stream so far.
  void record(Stream& stream);
  /// What is enqueued on the stream from now on waits for what was recorded last.
  void hold(Stream& stream) const;
  /// Whether the stream has come past what was recorded last. Never waits.
  bool is_past() const;

 private:
  friend double seconds_between(const Event& begin, const Event& end);

  Device device_;
  void* handle_ = nullptr;
};

/// By the device's clock, of two events that have one and that are past. 0 on the CPU, where no time passes between them.
double seconds_between(const Event& begin, const Event& end);

}  // namespace phalanx
