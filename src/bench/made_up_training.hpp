// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "data/loader.hpp"
#include "models/network.hpp"
#include "train/config.hpp"
#include "train/optimizer.hpp"
#include "train/training_step.hpp"

namespace phalanx {

/// Rows of noise with the shape of a data set: "cifar10", "fashion", "binary" or "regression".
class NoiseSource final : public RowSource {
 public:
  /// Throws    ConfigError for another kind.
  NoiseSource(const std::string& kind, std::int64_t rows);
  const DatasetInfo& info() const noexcept override { return info_; }
  std::int64_t size() const noexcept override { return rows_; }
  void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override;

 private:
  DatasetInfo info_;
  std::int64_t rows_;
  std::vector<std::byte> bytes_;
};

/// All that a training step of a configuration needs, on noise. `config.data` names the kind of noise.
class MadeUpTraining {
 public:
  /// All must outlive it. Collective.
  /// Throws    ConfigError.
  MadeUpTraining(const TrainConfig& config, const RankLayout& layout, Communicator& comm,
                 Stream& stream);

  StepReport run_step() { return step_.run(loader_, steps_++, {.learning_rate = 1e-3}); }
  /// What a step runs, all shards of this rank in one plan if it is reproducible.
  Executor& executor();
  std::int64_t rows_per_rank() const noexcept { return rows_per_rank_; }
  std::int64_t shards() const noexcept { return shards_; }  ///< 0: the run is not reproducible
  Network& network() noexcept { return network_; }
  Optimizer& optimizer() noexcept { return optimizer_; }
  const Loader& loader() const noexcept { return loader_; }

 private:
  std::int64_t rows_per_rank_, shards_, steps_ = 0;
  NoiseSource source_;
  Network network_;
  std::unique_ptr<GradientReducer> reducer_;
  Optimizer optimizer_;
  TrainingStep step_;
  Loader loader_;
};

}  // namespace phalanx
