// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint_saver.hpp"

#include <chrono>
#include <utility>

namespace phalanx {
namespace {

constexpr double kPatienceSeconds = 0.5;  // less than any sensible deadline of a collective

/// Adds the time of its life, also if that ends by an exception.
class Timer {
 public:
  explicit Timer(double& total) noexcept : total_(total) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() {
    total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  double& total_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

CheckpointSaver::CheckpointSaver(const TrainConfig& config, const RankLayout& layout,
                                 CheckpointFolder folder, const ParameterSet& parameters,
                                 const Optimizer& optimizer, const ColumnShards* shards,
                                 Stream& stream)
    : layout_(layout),
      parameters_(parameters),
      optimizer_(optimizer),
      shards_(shards),
      stream_(stream),
      writer_(std::move(folder),
              {.keep = config.keep, .has_thread = config.checkpoint_async && layout.rank == 0}) {
  if (!config.checkpoint_async || !takes_part()) return;
  writer_.reserve(training_state(parameters_, optimizer_, shards_, spaces_, stream_).entries);
}

void CheckpointSaver::save(const RunRecord& record, bool is_best, bool is_numbered) {
  const Timer timer(stall_.seconds);
  ++stall_.checkpoints;
  if (!takes_part()) return;
  writer_.wait_until_copied();  // the checkpoint before may have no step behind it
  TrainingState state = training_state(parameters_, optimizer_, shards_, spaces_, stream_);
  if (layout_.rank != 0) return;
  writer_.save({.step = record.step,
                .is_best = is_best,
                .is_numbered = is_numbered,
                .run = to_json(record),
                .entries = std::move(state.entries)});
  gathered_ = std::move(state.gathered);
}

void CheckpointSaver::wait_until_copied() {
  const Timer timer(stall_.seconds);
  writer_.wait_until_copied();
  gathered_.clear();
}

void CheckpointSaver::finish(Communicator& comm, Stream& stream) {
  for (std::int64_t is_finished = 0; is_finished == 0;) {
    is_finished = writer_.finish_within(kPatienceSeconds) ? 1 : 0;
    comm.broadcast({&is_finished, {DType::kI64, Shape{1}}}, 0, stream);
  }
}

}  // namespace phalanx
