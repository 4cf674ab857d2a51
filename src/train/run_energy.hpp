// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "train/config.hpp"
#include "train/energy.hpp"

namespace phalanx {

/// What a run uses on all nodes. The first rank of every node measures.
class RunEnergy {
 public:
  /// Starts to measure. The arguments outlive it.
  RunEnergy(const TrainConfig& config, const RankLayout& layout, Communicator& comm,
            Stream& stream);

  /// Now and then, before a counter wraps around.
  void update();
  /// Of all nodes since the start; the words are those of this rank's node. Called by every rank.
  EnergyUse of_all_nodes();

 private:
  Communicator& comm_;
  Stream& stream_;
  std::optional<EnergyMeter> meter_;
};

}  // namespace phalanx
