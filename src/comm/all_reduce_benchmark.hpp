// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/mpi_runtime.hpp"

namespace phalanx {

struct AllReduceBenchmarkOptions {
  std::int64_t least_bytes = 1 << 10;
  std::int64_t most_bytes = 256 << 20;
  std::int64_t rounds = 15;
};

/// One way to sum one size, or the copy that none can beat by much. A time is the slowest rank's.
struct AllReduceTime {
  std::string method;
  std::int64_t bytes = 0;
  double best_seconds = 0, median_seconds = 0;  ///< of one call
  bool is_right = true;  ///< the sums were checked, element by element, before anything was timed
  /// As nccl-tests define them: bytes / median time, and that times 2 (n - 1) / n.
  double algorithm_bandwidth() const noexcept {
    return static_cast<double>(bytes) / median_seconds;
  }
  double bus_bandwidth(int ranks) const noexcept {
    return algorithm_bandwidth() * 2 * (ranks - 1) / ranks;
  }
};

inline constexpr const char* kLibraryMethod = "MPI_Allreduce";
inline constexpr const char* kCopyMethod = "copy";

/// Times all_reduce of f32 sums against MPI_Allreduce and against a copy of as many bytes on all ranks at once, for sizes
/// that grow fourfold. All methods run in turn, round after round, so that a busy minute of the machine meets all alike.
/// Collective; every rank gets the same times, size by size, by `report`.
void benchmark_all_reduce(
    MpiRuntime& mpi, const AllReduceBenchmarkOptions& options,
    const std::function<void(const std::vector<AllReduceTime>& of_one_size)>& report);

}  // namespace phalanx
