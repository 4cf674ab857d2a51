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

/// The GPU that a rank takes.
struct GpuPlace {
  int index = 0;           ///< among the GPUs that the rank sees
  bool is_shared = false;  ///< other ranks of the node may take the same one
  friend bool operator==(const GpuPlace&, const GpuPlace&) = default;
};

/// Where one rank stands: on which node, as which of its ranks, with which device. Computed once,
/// on all ranks together, and handed to training, evaluation, batch inference and serving. Nothing
/// else reads rank environment variables, but for StartWatch, which watches over it.
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
  /// The GPU of this rank, which sees `visible` of them; all ranks of its node see `on_node` different
  /// ones together:  index = local_rank mod visible. So a rank takes
  ///
  ///   its only one           if the scheduler shows each rank a GPU of its own (visible = 1)
  ///   the local_rank-th one  if every rank sees all GPUs of the node
  ///   one in turn, shared    if there are fewer GPUs than ranks (on_node < local_size)
  ///
  /// Throws InvalidArgument unless 1 <= visible <= on_node.
  GpuPlace gpu(int visible, int on_node) const;
  /// "4 ranks on 2 nodes (node1: 0-1; node2: 2-3)"
  std::string describe() const;
};

/// A layout of one rank, for programs without a launcher.
RankLayout single_rank_layout();
/// Collective over MPI_COMM_WORLD.
RankLayout make_rank_layout(const MpiRuntime& mpi);

}  // namespace phalanx
