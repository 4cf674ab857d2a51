// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "formats/checkpoint.hpp"
#include "graph/parameters.hpp"
#include "models/run_record.hpp"
#include "train/column_shards.hpp"
#include "train/optimizer.hpp"

namespace phalanx {

/// The arrays of a checkpoint, parameter by parameter, independent of where they lie in the arenas and of how many ranks
/// hold them: /parameters/<name>, /states/<name>, /optimizer/<slot>/<parameter>.
struct TrainingState {
  std::vector<CheckpointEntry> entries;  ///< views into the arguments, or into `gathered`
  std::vector<Tensor> gathered;          ///< what several ranks held in parts
};

/// Host memory for the arrays of a checkpoint, where a device holds them. Kept from one checkpoint to the next.
class HostSpaces {
 public:
  /// The next one that is free.
  HostTensor& next() {
    if (used_ == spaces_.size()) spaces_.emplace_back();
    return spaces_[used_++];
  }
  void free_all() noexcept { used_ = 0; }

 private:
  std::deque<HostTensor> spaces_;
  std::size_t used_ = 0;
};

/// `shards`: null unless the first layer is cut. Called by every rank if it is, or if the optimizer is sharded. The entries
/// are in host memory; on a GPU they are copied into `spaces`, and have arrived when the call returns.
TrainingState training_state(const ParameterSet& parameters, const Optimizer& optimizer,
                             const ColumnShards* shards, HostSpaces& spaces, Stream& stream);

/// The newest checkpoint that is whole, if there is any. Called by every rank: rank 0 chooses, so that all load the same one.
/// Throws    InvalidInput if there are checkpoints but none is whole.
std::optional<Checkpoint> newest_checkpoint(const CheckpointFolder& folder, Communicator& comm,
                                            Stream& stream);

/// The reverse of training_state.
/// Throws    InvalidInput if an array is missing or has another shape.
void load_training_state(const Checkpoint& checkpoint, ParameterSet& parameters,
                         Optimizer& optimizer, const ColumnShards* shards, Stream& stream);

/// Whether a run may go on from a checkpoint: everything that shapes the result (model, data, optimizer, batch, seed, ...)
/// must be as it was. How long to train, what to write and how to communicate may change.
/// Throws    ConfigError that lists every key that differs with both values.
void check_same_run(const RunRecord& before, const RunRecord& now,
                    const std::string& checkpoint_path);

}  // namespace phalanx
