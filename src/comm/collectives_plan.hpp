// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "comm/nccl_library.hpp"
#include "comm/rank_layout.hpp"

namespace phalanx {

/// What decides how one rank's GPU takes part in sums over ranks.
struct RankGpu {
  int node = 0;
  std::string bus_id;   ///< PCI: names the GPU among those of its node
  std::string no_nccl;  ///< why this rank has no NCCL; empty: it has
};

/// How sums over the memory of GPUs are made, and why, in one line for people.
struct CollectivesPlan {
  bool uses_nccl = false;  ///< else through pinned host memory
  std::string reason;
};

/// NCCL, unless two ranks are on one GPU, which it refuses, a rank has no NCCL, or sums have to be taken in a tree over ranks
/// that does not depend on their number. The same on every rank, given the same.
/// Throws    InvalidArgument if a rank has no GPU.
CollectivesPlan choose_collectives(std::span<const RankGpu> ranks, bool tree_over_ranks = false);

struct DeviceCommunicatorOptions {
  Device device;
  double deadline_seconds = 60;
  bool tree_over_ranks = false;
  std::string nccl = NcclLibrary::kName;
};

struct PlannedCommunicator {
  std::unique_ptr<Communicator> comm;
  CollectivesPlan plan;
};

/// The communicator for one GPU a rank that choose_collectives() names. NCCL is opened only where no other reason speaks
/// against it; before other threads start, as NcclLibrary says. Collective over `host`, whose layout this is.
/// Throws    CommError, OutOfMemory.
PlannedCommunicator make_device_communicator(std::unique_ptr<Communicator> host,
                                             const RankLayout& layout,
                                             const DeviceCommunicatorOptions& options);

}  // namespace phalanx
