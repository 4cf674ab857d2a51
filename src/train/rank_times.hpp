// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"

namespace phalanx {

/// Where the time of a training step goes on one rank, in seconds.
struct StepTime {
  float step = 0;  ///< all of it
  float data = 0;  ///< waiting for a batch
  float communication =
      0;              ///< waiting for sums over ranks, which includes waiting for slower ranks
  float compute = 0;  ///< the rest
};

/// Half of a rank's steps took no longer than the median, 19 of 20 no longer than p95; each member by itself.
struct RankTimes {
  StepTime median, p95;
  /// Held by the process at the end; what ranks share is divided among them. 0: unknown.
  float memory_mib = 0;
};

/// The times of a rank's last kMost steps.
class StepTimes {
 public:
  static constexpr std::size_t kMost = 4096;
  void add(const StepTime& time);
  /// Zeros without a step. The memory is that of now.
  RankTimes quantiles() const;

 private:
  std::vector<StepTime> times_;
  std::size_t next_ = 0;
};

/// Of all ranks, in their order. Called by every rank.
std::vector<RankTimes> gather(const RankTimes& mine, Communicator& comm, Stream& stream);

/// The rank whose steps take longest without communication, since in that all wait for it; and by how much, as a share of
/// the median rank.
struct Straggler {
  int rank = 0;
  double excess = 0;
};
Straggler find_straggler(const std::vector<RankTimes>& ranks);

/// One object per rank: {"rank", "host", "median": {"step", "data", "compute", "communication"}, "p95": {...}}, in seconds, and
/// "memory_mib".
std::string to_json(const std::vector<RankTimes>& ranks, const RankLayout& layout);

}  // namespace phalanx
