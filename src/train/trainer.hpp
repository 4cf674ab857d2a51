// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "data/row_source.hpp"
#include "models/network.hpp"
#include "models/run_record.hpp"
#include "train/checkpoint_saver.hpp"
#include "train/config.hpp"
#include "train/energy.hpp"
#include "train/evaluate.hpp"
#include "train/rank_times.hpp"
#include "train/step_graphs.hpp"
#include "train/stop_signals.hpp"

namespace phalanx {

/// How a training run ended.
struct TrainResult {
  std::string
      reason;  ///< "epochs", "max-steps", "max-seconds", "stop-loss", "early-stop", "preempted"
  std::int64_t steps = 0;          ///< done in all
  std::int64_t skipped_steps = 0;  ///< left out by this process, for their loss
  std::int64_t resumed_from = 0;   ///< step; 0: started anew
  double train_loss = 0;           ///< of the last epoch
  Evaluation test;                 ///< of the last evaluation
  double seconds =
      0;  ///< of training, earlier parts of a resumed run included, evaluation excluded
  double samples_per_second = 0;  ///< of this process's training
  double samples = 0;             ///< trained on by this process
  double hidden_share = 0;        ///< of communication
  double exposed_share = 0;       ///< of the time, spent in communication that was not hidden
  double wait_share = 0;          ///< of the time, spent waiting for data on this rank
  StepGraphs::Use graphs;         ///< by this rank
  EnergyUse energy;               ///< of this process's run, all nodes together
  std::vector<RankTimes> ranks;   ///< of this process's steps, all ranks
  CheckpointStall stall;          ///< of rank 0, by all checkpoints but the last
  std::string checkpoint;         ///< the newest
  std::string best_checkpoint;
  std::unique_ptr<Network>
      network;       ///< as training left it, without gradients; null unless it was asked for
  RunRecord record;  ///< of it
};

/// What a run needs beside its configuration; everything outlives run_training.
struct TrainContext {
  const RankLayout& layout;
  Communicator& comm;
  Stream& stream;
  RowSource& train;
  RowSource* test = nullptr;          ///< null: no evaluation
  std::string config_text;            ///< as --dump-config prints it
  const StopSignals* stop = nullptr;  ///< null: nothing can ask the run to end
  bool keeps_network = false;         ///< TrainResult::network is wanted
};

/// Trains from the configuration: resumes by itself from the newest whole checkpoint in config.output, evaluates, writes
/// checkpoints, metrics (metrics.jsonl, TensorBoard events, curves.svg) and shows progress. Called by every rank; rank 0
/// writes.
/// Throws    ConfigError if the configuration contradicts the data, or the checkpoint it would resume from; IoError if
///           something cannot be saved (the last good checkpoint stays); CommError.
TrainResult run_training(const TrainConfig& config, const TrainContext& context);

/// The model that a configuration describes for a data set, and its loss ("auto" resolved).
/// Throws    ConfigError if the loss does not fit the targets.
ModelSpec model_spec(const TrainConfig& config, const DatasetInfo& info);
std::string resolve_loss(const TrainConfig& config, const DatasetInfo& info);

}  // namespace phalanx
