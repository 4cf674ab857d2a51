// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/device.hpp"

namespace phalanx {

class MpiRuntime;

/// The half-open range [begin, end).
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const noexcept { return end - begin; }
  friend bool operator==(const Range&, const Range&) = default;
};

/// Part `index` of [0, total) cut into `parts` contiguous ranges whose sizes differ by at most one,
/// larger ones first.
Range share_of(std::int64_t total, int index, int parts) noexcept;

/// Part `index` of a vector of `count` elements that ranks reduce or gather part by part: like share_of, but cut at
/// multiples of kPartBlock, so that no two ranks write to one cache line.
Range part_of(std::int64_t count, int index, int parts) noexcept;
inline constexpr std::int64_t kPartBlock = 1024;

/// Where one rank stands: on which node, as which of its ranks, with which device. Computed once,
/// on all ranks together, and handed to training, evaluation, batch inference and serving. Nothing
/// else reads rank environment variables.
struct RankLayout {
  int rank = 0;
  int size = 1;
  int node = 0;  ///< nodes are numbered by the lowest rank they hold
  int nodes = 1;
  int local_rank = 0;  ///< among the ranks of this node
  int local_size = 1;
  std::string host;                ///< of this rank
  std::vector<std::string> hosts;  ///< of every rank
  std::vector<int> node_of;        ///< node of every rank
  Device device;

  /// This rank's part of `total` rows.
  Range share(std::int64_t total) const noexcept { return share_of(total, rank, size); }
  /// "4 ranks on 2 nodes (node1: 0-1; node2: 2-3)"
  std::string describe() const;
};

/// A layout of one rank, for programs without a launcher.
RankLayout single_rank_layout();
/// Collective over MPI_COMM_WORLD.
RankLayout make_rank_layout(const MpiRuntime& mpi);

}  // namespace phalanx
