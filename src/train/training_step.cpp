// SPDX-License-Identifier: Apache-2.0
#include "train/training_step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tensor/combine.hpp"
#include "train/bucket_tuner.hpp"
#include "train/evaluate.hpp"
#include "train/gradient_norm.hpp"

namespace phalanx {

std::unique_ptr<GradientReducer> make_gradient_reducer(const TrainConfig& config, Network& network,
                                                       Communicator& comm, Stream& stream) {
  if (comm.size() == 1 || !network.cut_weight().empty()) return nullptr;
  return std::make_unique<GradientReducer>(
      comm, network.gradients(),
      GradientReducerOptions{.bucket_bytes = first_bucket_bytes(config),
                             .gradients = network.parameters().layout().parameter_elements(),
                             .scatter = config.shard_optimizer,
                             .compress = config.gradient_compression == "bf16"},
      stream);
}

TrainingStep::TrainingStep(const TrainConfig& config, Network& network, Optimizer& optimizer,
                           GradientReducer* reducer, Communicator& comm, Stream& stream)
    : config_(config),
      network_(network),
      optimizer_(optimizer),
      stream_(stream),
      comm_(comm),
      reducer_(reducer) {
  if (!config.reproducible) return;
  local_shards_ = config.virtual_shards / comm.size();
  if (config.accumulate > 1) sum_of_micro_batches_ = Tensor(network.gradients().type, stream);
}

float* TrainingStep::tail() const noexcept {
  const TensorView arena = network_.gradients();
  return arena.as<float>() + arena.numel() - Network::kTail;
}

RunOptions TrainingStep::run_options(const Batch& batch, std::int64_t step, bool reduces) {
  seed_ = 1.0f / static_cast<float>(batch.slice.global_rows);
  RunOptions options{.random = {.seed = static_cast<std::uint64_t>(config_.seed),
                                .step = static_cast<std::uint64_t>(step),
                                .first_row = static_cast<std::uint64_t>(batch.slice.first_row)},
                     .parameter_version = parameter_version(step)};
  if (reduces && reducer_)
    options.on_gradients_final = [this](std::int64_t elements) {
      reducer_->ready(elements, stream_);
    };
  if (trace_ != nullptr)
    options.on_node_done = [this](const Node& node, Trace::Time begin) {
      trace_->add(node.name, Trace::Track::kTraining, begin, std::chrono::steady_clock::now());
    };
  if (!network_.cut_weight().empty())
    options.collective = [this](TensorView sum) { comm_.all_reduce(sum, ReduceOp::kSum, stream_); };
  return options;
}

const Batch& TrainingStep::next_batch(Loader& loader) {
  const auto begin = std::chrono::steady_clock::now();
  const Batch& batch = loader.next();
  if (trace_ != nullptr)
    trace_->add("wait for data", Trace::Track::kTraining, begin, std::chrono::steady_clock::now());
  return batch;
}

/// The buckets, and the optimizer, which began at `updating` and ends now.
void TrainingStep::trace_step(std::chrono::steady_clock::time_point updating) const {
  if (trace_ == nullptr) return;
  trace_->add("optimizer", Trace::Track::kTraining, updating, std::chrono::steady_clock::now());
  for (std::size_t i = 0; i < buckets().size(); ++i)
    trace_->add(fmt::format("sum bucket {}", i), Trace::Track::kCommunication,
                buckets()[i].times.begun, buckets()[i].times.ended);
}

void TrainingStep::run_micro_batch(const Batch& batch, std::int64_t step, bool is_last,
                                   StepReport& report) {
  if (batch.slice.is_empty()) return;
  Executor& executor = network_.training(batch.x.shape()[0]);
  RunOptions options = run_options(batch, step, is_last);
  options.accumulate = has_gradients_;
  executor.feed("x", batch.x);
  executor.feed("target", batch.y);
  executor.feed("dloss", {&seed_, {DType::kF32, Shape{}}});
  executor.run(options);
  has_gradients_ = true;
  const auto loss = static_cast<double>(*executor.output("loss").as<float>());
  note_own_loss(loss, batch.slice, report);
  report.loss_sum += loss;
  report.correct += correct(executor.output("logits"), batch.y);
}

double TrainingStep::correct(ConstTensorView logits, ConstTensorView target) const {
  const std::string& loss = network_.options().loss;
  if (loss == "mean_squared_error") return 0;
  return static_cast<double>(count_correct(loss, logits, target));
}

// --- reproducible

namespace {

/// Rows [first, first + rows) of a tensor.
ConstTensorView rows_of(const ConstTensorView& v, std::int64_t first, std::int64_t rows) {
  const std::size_t row_bytes =
      v.shape()[0] == 0 ? 0 : v.type.size_bytes() / static_cast<std::size_t>(v.shape()[0]);
  return {v.as<std::byte>() + static_cast<std::size_t>(first) * row_bytes,
          {v.type.dtype, v.shape().with(0, rows)}};
}

}  // namespace

/// Leaves the sums over this rank's shards in the arena, those of loss and right answers in its tail.
void TrainingStep::run_shards(const Batch& batch, std::int64_t step) {
  const auto shards = static_cast<int>(config_.virtual_shards);
  const std::int64_t micro_rows = batch.slice.micro_rows;
  const int first = comm_.rank() * static_cast<int>(local_shards_);
  const auto rows_of_shard = [&](std::int64_t i) {
    return share_of(micro_rows, first + static_cast<int>(i), shards).size();
  };
  states_summed_ += std::min<std::int64_t>(shards, micro_rows);
  const std::int64_t most = rows_of_shard(0), least = rows_of_shard(local_shards_ - 1);
  if (most == least && least > 0) {
    run_equal_shards(batch, 0, most, local_shards_, run_options(batch, step, true));
    return;
  }
  // The last batch of an epoch: shards of different sizes, one after the other.
  const TensorView arena = network_.gradients();
  std::vector<Tensor> sums;
  std::vector<const void*> parts;
  std::int64_t row = 0;
  for (std::int64_t i = 0; i < local_shards_; ++i) {
    const std::int64_t rows = rows_of_shard(i);
    RunOptions options = run_options(batch, step, false);
    options.random.first_row += static_cast<std::uint64_t>(row);
    if (rows > 0)
      run_equal_shards(batch, row, rows, 1, options);
    else
      std::fill_n(arena.as<float>(), arena.numel(), 0.0f);
    sums.emplace_back(arena.type, stream_);
    copy(arena, sums.back().view(), stream_);
    parts.push_back(sums.back().view().data);
    row += rows;
  }
  combine(ReduceOp::kSum, DType::kF32, parts, arena.data, arena.numel());
}

void TrainingStep::run_equal_shards(const Batch& batch, std::int64_t first_row, std::int64_t rows,
                                    std::int64_t shards, const RunOptions& options) {
  Executor& executor = network_.training(rows, shards);
  executor.feed("x", rows_of(batch.x, first_row, rows * shards));
  executor.feed("target", rows_of(batch.y, first_row, rows * shards));
  executor.feed("dloss", {&seed_, {DType::kF32, Shape{}}});
  executor.run(options);
  std::vector<const void*> losses;
  double right = 0;
  for (std::int64_t s = 0; s < shards; ++s) {
    losses.push_back(executor.output("loss", s).data);
    right += correct(executor.output("logits", s), rows_of(batch.y, first_row + s * rows, rows));
  }
  float* tail = this->tail();
  combine(ReduceOp::kSum, DType::kF32, losses, tail, 1);
  tail[1] = static_cast<float>(right);
}

/// The mean over all shards of what each would make of them.
void TrainingStep::update_states() {
  ParameterSet& parameters = network_.parameters();
  const float* sums = network_.gradients().as<float>() + parameters.layout().parameter_elements();
  const float scale = 1.0f / static_cast<float>(states_summed_);
  float* states = parameters.states().as<float>();
  for (std::int64_t i = 0; i < parameters.layout().state_elements(); ++i)
    states[i] = sums[i] * scale;
}

void TrainingStep::run_reproducibly(Loader& loader, std::int64_t step, StepReport& report) {
  const TensorView arena = network_.gradients();
  states_summed_ = 0;
  for (std::int64_t micro = 0; micro < config_.accumulate; ++micro) {
    const Batch& batch = next_batch(loader);
    report.samples = batch.slice.global_rows;
    run_shards(batch, step);
    note_own_loss(static_cast<double>(tail()[0]), batch.slice, report);
    tail()[2] = report.stop_requested ? 1.0f : 0.0f;
    if (reducer_) report.overlap += reducer_->finish(stream_);
    if (config_.accumulate == 1) break;
    const std::array<const void*, 2> parts{sum_of_micro_batches_.view().data, arena.data};
    combine(ReduceOp::kSum, DType::kF32, std::span(parts).subspan(micro == 0 ? 1 : 0),
            sum_of_micro_batches_.view().data, arena.numel());
  }
  if (config_.accumulate > 1) copy(sum_of_micro_batches_.view(), arena, stream_);
  report.loss_sum = static_cast<double>(tail()[0]);
  report.correct = static_cast<double>(tail()[1]);
  report.stop_requested = tail()[2] > 0;
}

/// Of all parameters, also where this rank holds columns of one only.
double TrainingStep::gradient_norm(ConstTensorView gradients) {
  if (optimizer_.is_sharded()) return norm_of_parts(gradients, *reducer_, comm_, stream_);
  const double whole = norm(gradients);
  if (network_.cut_weight().empty()) return whole;
  const ParameterSlot& slot = network_.parameters().layout().parameter(network_.cut_weight());
  const double mine = norm({gradients.as<float>() + slot.offset, {DType::kF32, slot.shape}});
  auto sum = static_cast<float>(mine * mine);
  comm_.all_reduce({&sum, {DType::kF32, Shape{1}}}, ReduceOp::kSum, stream_);
  return std::sqrt(std::max(whole * whole - mine * mine, 0.0) + static_cast<double>(sum));
}

void TrainingStep::run_and_sum(Loader& loader, std::int64_t step, StepReport& report) {
  has_gradients_ = false;
  for (std::int64_t micro = 0; micro < config_.accumulate; ++micro) {
    const Batch& batch = next_batch(loader);
    report.samples = batch.slice.global_rows;
    run_micro_batch(batch, step, micro + 1 == config_.accumulate, report);
  }
  const TensorView arena = network_.gradients();
  if (!has_gradients_) std::fill_n(arena.as<float>(), arena.numel(), 0.0f);
  if (reducer_) {
    tail()[0] = static_cast<float>(report.loss_sum);
    tail()[1] = static_cast<float>(report.correct);
    tail()[2] = report.stop_requested ? 1.0f : 0.0f;
    report.overlap = reducer_->finish(stream_);
    report.loss_sum = static_cast<double>(tail()[0]);
    report.correct = static_cast<double>(tail()[1]);
    report.stop_requested = tail()[2] > 0;
  } else if (comm_.size() > 1) {  // by columns: every rank has seen every row
    float stop = report.stop_requested ? 1.0f : 0.0f;
    comm_.all_reduce({&stop, {DType::kF32, Shape{1}}}, ReduceOp::kMax, stream_);
    report.stop_requested = stop > 0;
  }
}

void TrainingStep::note_own_loss(double loss, const BatchSlice& slice, StepReport& report) const {
  if (std::isfinite(loss) || report.first_bad_row >= 0) return;
  report.first_bad_row = slice.first_row;
  report.bad_rows = slice.rows;
}

// Running statistics have been updated when the loss is known.
void TrainingStep::keep_states() {
  if (config_.bad_loss != "skip") return;
  const TensorView states = network_.parameters().states();
  if (states_before_.view().data == nullptr) states_before_ = Tensor(states.type, stream_);
  copy(states, states_before_.view(), stream_);
}

void TrainingStep::restore_states() {
  if (config_.bad_loss == "skip")
    copy(states_before_.view(), network_.parameters().states(), stream_);
}

StepReport TrainingStep::run(Loader& loader, std::int64_t step, const Request& request) {
  StepReport report;
  report.stop_requested = request.stop;
  trace_ = request.trace;
  keep_states();
  if (config_.reproducible)
    run_reproducibly(loader, step, report);
  else
    run_and_sum(loader, step, report);
  ParameterSet& parameters = network_.parameters();
  const TensorView gradients{network_.gradients().data, parameters.parameters().type};
  double scale = 1;
  if (config_.clip_norm > 0 || request.want_norm) {
    report.gradient_norm = gradient_norm(gradients);
    if (config_.clip_norm > 0 && report.gradient_norm > config_.clip_norm)
      scale = config_.clip_norm / report.gradient_norm;
  }
  const double mean =
      report.loss_sum / static_cast<double>(std::max<std::int64_t>(report.samples, 1));
  report.is_bad =
      !std::isfinite(mean) || mean > request.loss_limit || !std::isfinite(report.gradient_norm);
  if (report.is_bad) {
    restore_states();
    if (reducer_ != nullptr) reducer_->forget_rounding();
    return report;
  }
  if (request.before_update) request.before_update();
  const auto updating = std::chrono::steady_clock::now();
  if (config_.reproducible) update_states();
  const Optimizer::Updated updated =
      optimizer_.update({parameters.parameters(), gradients, parameters.copies()},
                        request.learning_rate, scale, step, stream_);
  report.overlap += updated.gathering;
  if (updated.has_copy) parameters.set_copies_version(parameter_version(step + 1));
  trace_step(updating);
  return report;
}

}  // namespace phalanx
