// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "device/stream.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// Times what is enqueued on a stream: by the device's clock on a GPU, by the host's on the CPU.
///
/// Before each time the caches are emptied, by reading other memory: lines that were written would have to be written back
/// while something else is timed. On a GPU a time is that of several runs back to back, so that the device is never waiting
/// for the host, and what a run leaves in the cache to be written back is paid for by the next.
class Stopwatch {
 public:
  using Work = std::function<void()>;

  /// `flush_bytes`: what is read to empty the caches. The stream outlives the stopwatch.
  Stopwatch(Stream& stream, std::size_t flush_bytes);

  /// Seconds of one run of each, the median over rounds. In each round every one is timed once, so that whatever disturbs the
  /// machine disturbs all of them.
  /// Throws    what a run throws; DeviceError.
  std::vector<double> medians(std::span<const Work> works, int rounds);

 private:
  bool on_gpu() const noexcept { return stream_.device().backend != nullptr; }
  void flush();
  double seconds(const Work& work, int runs);
  int runs_of(const Work& work);

  Stream& stream_;
  Event begin_, end_;
  Tensor other_memory_, sums_;
  volatile unsigned char read_ = 0;
};

/// Work that moves as many bytes as something else, half of them read and half written: the ceiling of what memory bounds.
/// Each call takes the place of the one before it.
class CopyCeiling {
 public:
  explicit CopyCeiling(Stream& stream) : stream_(stream), from_(stream), to_(stream) {}
  Stopwatch::Work of(double bytes);

 private:
  Stream& stream_;
  Workspace from_, to_;
};

}  // namespace phalanx
