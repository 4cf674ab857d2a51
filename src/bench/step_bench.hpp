// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/operator_bench.hpp"
#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "train/config.hpp"

namespace phalanx {

/// One node of a training step, on a GPU.
struct NodeTime {
  std::string name, op;
  bool is_backward = false;
  double seconds = 0;  ///< by the device's clock, from the end of the node before it
  double floor_seconds = 0;
};

/// A training step beside what its kernels take at least.
struct StepTime {
  std::string what;             ///< "cifar10, batch 512, bf16"
  double seconds = 0;           ///< by the host's clock, with all that belongs to a step
  double floor_seconds = 0;     ///< the sum of the nodes'
  std::vector<NodeTime> nodes;  ///< the update is the last
};

/// Times steps of a configuration on noise (see MadeUpTraining), on one rank with a GPU; medians over `steps`.
/// A node's floor is that of MachineRates, for its operands, each counted once, and its formula's operations.
/// Throws    ConfigError.
StepTime time_step(const TrainConfig& config, const MachineRates& rates, std::int64_t steps,
                   const RankLayout& layout, Communicator& comm, Stream& stream);

}  // namespace phalanx
