// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>

namespace phalanx {

/// Counts of latencies in buckets that grow by a factor, as Prometheus has them.
class LatencyHistogram {
 public:
  /// Upper bounds in seconds: 50 us, 100 us, 200 us, 500 us, ... 10 s.
  static constexpr std::array<double, 17> kBounds = {50e-6,  100e-6, 200e-6, 500e-6, 1e-3,   2e-3,
                                                     5e-3,   10e-3,  20e-3,  50e-3,  100e-3, 200e-3,
                                                     500e-3, 1.0,    2.0,    5.0,    10.0};
  void add(double seconds) noexcept;
  std::uint64_t count() const noexcept { return count_; }
  double sum() const noexcept { return sum_; }
  /// Of bucket i alone; i = kBounds.size(): above all bounds.
  std::uint64_t in_bucket(std::size_t i) const noexcept { return counts_[i]; }
  /// The latency below which a share of all lies, interpolated within its bucket; 0 if there is none.
  double quantile(double share) const noexcept;

 private:
  std::array<std::uint64_t, kBounds.size() + 1> counts_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

/// How often, and how long together.
struct CountAndTime {
  std::uint64_t count = 0, ns = 0;
  void add(std::uint64_t nanoseconds) noexcept { ++count, ns += nanoseconds; }
};

/// What one version of a model has done since it was loaded.
struct VersionStats {
  std::uint64_t inferences = 0;        ///< rows that were answered
  std::uint64_t executions = 0;        ///< batches
  std::int64_t last_inference_ms = 0;  ///< since the epoch
  CountAndTime success, fail, queue, input, infer, output;
  std::uint64_t cancelled = 0;
  std::map<int, std::uint64_t> by_status;  ///< requests
  struct Batch {
    CountAndTime input, infer, output;
  };
  std::map<std::int64_t, Batch> batches;  ///< by rows
  LatencyHistogram latency;               ///< of answered requests, from complete to answered
  std::uint64_t shadowed = 0,
                shadow_disagreed = 0;  ///< requests that were also answered by the shadow version
};

}  // namespace phalanx
