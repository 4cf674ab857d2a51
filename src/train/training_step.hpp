// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/gradient_reducer.hpp"
#include "data/device_feed.hpp"
#include "device/backend.hpp"
#include "models/network.hpp"
#include "train/device_spans.hpp"
#include "train/gradient_norm.hpp"
#include "train/optimizer.hpp"
#include "train/step_graphs.hpp"
#include "train/trace.hpp"

namespace phalanx {

/// What one optimizer step says about itself; equal on every rank but for the times.
struct StepReport {
  double loss_sum = 0;          ///< over the samples of the global batch
  double correct = 0;           ///< classifiers: right answers
  std::int64_t samples = 0;     ///< of the global batch
  double gradient_norm = 0;     ///< global, before clipping; only if clipping is on or `want_norm`
  bool is_bad = false;          ///< the loss was not finite or above the limit: nothing was updated
  bool stop_requested = false;  ///< by any rank
  std::int64_t first_bad_row =
      -1;  ///< of this rank's rows in the global batch, if its own loss is not finite
  std::vector<std::int64_t> bad_rows;  ///< the same rows by their numbers in the data set
  OverlapTimes
      overlap;  ///< on a GPU by its clock, but for reproducible steps, whose host sees every sum
};

/// Names the parameters that step `step` (from 0) begins with: see OpContext::parameter_version.
constexpr std::uint64_t parameter_version(std::int64_t step) noexcept {
  return static_cast<std::uint64_t>(step) + 1;
}

/// Sums the gradients of a network as the configuration says. Null where they are not summed: on one rank, or where every
/// rank has columns of the first layer.
std::unique_ptr<GradientReducer> make_gradient_reducer(const TrainConfig& config, Network& network,
                                                       Communicator& comm, Stream& stream);

/// One optimizer step over all ranks: micro-batches forward and backward, gradients summed in buckets while the last
/// micro-batch is still in its backward pass, clipping, update.
///
/// Reproducible, every micro-batch is cut into virtual shards. Each is computed by itself, with the same shapes on whatever
/// rank; gradients, running statistics and the loss are summed over shards in a fixed binary tree, on a rank and then over
/// ranks, and over micro-batches in their order.
///
/// The loss is a sum over samples and its gradient is seeded with 1 / (samples of the global batch), so uneven shares,
/// ragged last batches, accumulation and ranks without data give the gradient that one rank would have computed.
class TrainingStep {
 public:
  /// All must outlive the step. Where the network holds columns of the first layer (partition `column`) every rank computes
  /// the whole batch, so gradients are not summed; the products of that layer are.
  /// `reducer`: see make_gradient_reducer.
  TrainingStep(const TrainConfig& config, Network& network, Optimizer& optimizer,
               GradientReducer* reducer, Communicator& comm, Stream& stream);

  struct Request {
    double learning_rate = 0;
    bool want_norm = false;
    bool stop = false;  ///< this rank was asked to end; travels to all ranks with the gradients
    Trace* trace = nullptr;  ///< gets what happens in this step
    double loss_limit =
        std::numeric_limits<double>::infinity();  ///< of the mean loss; above it the step is bad
    std::function<void()>
        before_update;  ///< called when parameters and optimizer state are about to change; on a
    ///< GPU, where a checkpoint is copied to the host at once, when all is enqueued
    bool may_be_captured = true;  ///< false: it runs as it is, whatever config.cuda_graph says
  };
  /// Without config.cuda_graph, or where steps cannot be captured, which the constructor then says, there are none.
  StepGraphs::Use graphs() const noexcept { return graphs_ ? graphs_->use() : StepGraphs::Use(); }
  /// The sums over ranks of the last step, bucket by bucket; empty where there are none.
  std::span<const GradientReducer::Bucket> buckets() const noexcept {
    return reducer_ ? std::span(reducer_->last_step()) : std::span<const GradientReducer::Bucket>();
  }
  /// `step` counts optimizer steps from 0. Takes config.accumulate micro-batches from the loader.
  StepReport run(Loader& loader, std::int64_t step, const Request& request);

 private:
  double gradient_norm(ConstTensorView gradients);
  bool on_cpu() const noexcept { return stream_.device().backend == nullptr; }
  ConstTensorView seed(const Batch& batch);
  void add_to_tail(std::size_t place, ConstTensorView value, bool is_first);
  void send_stop();
  void fetch_tail() { download(tail(), tail_on_host_.view(), stream_); }
  void read_tail(StepReport& report);
  void run_on_cpu(std::int64_t step, const Request& request, StepReport& report);
  void run_on_device(std::int64_t step, const Request& request, StepReport& report);
  void run_captured(std::int64_t step, const Request& request, StepReport& report);
  void judge(const Request& request, StepReport& report);
  void set_limits(const Request& request, std::int64_t samples);
  void judge_and_update(bool wants_norm, StepReport& report);
  TensorView parameter_gradients() const noexcept;
  Optimizer::Arenas arenas() const noexcept;
  void fetch_own_loss(ConstTensorView loss);
  void note_own_loss(const BatchSlice& slice) { own_slices_[own_count_++] = slice; }
  void find_own_bad_loss(StepReport& report);
  void keep_states();
  void restore_states();
  void begin_micro_batch(std::int64_t micro, const Batch& batch, std::int64_t step);
  void send_place();
  void run_micro_batch(const Batch& batch, std::int64_t step, bool is_last);
  void finish_sums(StepReport& report);
  RunOptions run_options(const Batch& batch, std::int64_t step, bool reduces);
  const Batch& next_batch();
  void trace_since(const char* name, Trace::Time begin) const;
  void trace_sums() const;
  void sum_columns(TensorView parts);
  void run_and_sum(std::int64_t step, StepReport& report);
  /// Sums that travel with the gradients: loss, right answers, ranks that were asked to stop.
  TensorView tail() const noexcept;
  TensorView tail(std::size_t place) const noexcept;
  // reproducible
  void run_reproducibly(std::int64_t step, StepReport& report);
  void run_shards(const Batch& batch, std::int64_t step);
  void run_equal_shards(const Batch& batch, std::int64_t first_row, std::int64_t rows,
                        std::int64_t shards, const RunOptions& options);
  void update_states();

  const TrainConfig& config_;
  Network& network_;
  Optimizer& optimizer_;
  Stream& stream_;
  Communicator& comm_;
  GradientReducer* reducer_;  // null: gradients are not summed
  bool is_classifier_;
  Trace* trace_ = nullptr;      // of the present step
  bool has_gradients_ = false;  // in the arena, of the present step
  std::optional<DeviceFeed> feed_;
  HostTensor seed_on_host_;
  Tensor seed_;                                  // gradient of the loss
  HostTensor tail_on_host_, stop_, own_losses_;  // of a step
  std::vector<BatchSlice> own_slices_;           // to which the losses belong
  std::size_t own_count_ = 0;
  std::int64_t micro_ = 0;  // the present micro-batch
  // On a GPU, where a step runs as it was enqueued: what is different each time.
  HostTensor limits_on_host_, places_on_host_, verdict_on_host_;
  Tensor limits_, places_;  // a RandomPlace for each micro-batch
  Tensor norm_sums_, verdict_;
  std::optional<CutNorm> cut_norm_;  // where this rank holds columns of the first layer
  std::optional<StepGraphs> graphs_;
  std::optional<DeviceSpans> spans_;  // of steps that are traced
  std::int64_t local_shards_ = 0;     // reproducible: of this rank
  std::int64_t states_summed_ = 0;    // reproducible: shards of this step, over all ranks
  Tensor sum_of_micro_batches_;       // reproducible, with several
  Tensor states_before_;              // where a bad step is left out
};

}  // namespace phalanx
