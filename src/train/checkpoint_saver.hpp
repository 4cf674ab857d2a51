// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/rank_layout.hpp"
#include "formats/checkpoint_writer.hpp"
#include "models/run_record.hpp"
#include "train/config.hpp"
#include "train/resume.hpp"

namespace phalanx {

/// How long training stood still for its checkpoints, on this rank.
struct CheckpointStall {
  std::int64_t checkpoints = 0;
  double seconds = 0;
};

/// The checkpoints of one training run. Rank 0 writes them, beside the training unless config.checkpoint_async is false:
/// the arrays are copied during the forward and backward passes of the next step, which only read them.
class CheckpointSaver {
 public:
  /// Called by every rank; all arguments outlive the saver. `shards` as for training_state.
  CheckpointSaver(const TrainConfig& config, const RankLayout& layout, CheckpointFolder folder,
                  const ParameterSet& parameters, const Optimizer& optimizer,
                  const ColumnShards* shards, Stream& stream);

  /// Called by every rank, between steps.
  /// Throws    IoError naming file and reason, also of the checkpoint before.
  void save(const RunRecord& record, bool is_best, bool is_numbered);
  /// To be called in every step before parameters or optimizer state change: what save() was called for may still have to
  /// be copied.
  /// Throws    IoError of a checkpoint that could not be written.
  void wait_until_copied();
  /// Waits until every checkpoint is on disk, for longer than a collective may take if need be. Called by every rank.
  /// Throws    as above; CommError if a rank does not answer.
  void finish(Communicator& comm, Stream& stream);
  /// Of all calls of save() and wait_until_copied().
  const CheckpointStall& stall() const noexcept { return stall_; }

 private:
  /// Whether this rank writes, or holds parts of what is written.
  bool takes_part() const noexcept {
    return layout_.rank == 0 || shards_ != nullptr || optimizer_.is_sharded();
  }

  const RankLayout& layout_;
  const ParameterSet& parameters_;
  const Optimizer& optimizer_;
  const ColumnShards* shards_;
  Stream& stream_;
  std::vector<Tensor> gathered_;  // of the checkpoint that is being copied
  HostSpaces spaces_;             // likewise
  CheckpointStall stall_;
  CheckpointWriter writer_;  // last: it reads the rest
};

}  // namespace phalanx
