// SPDX-License-Identifier: Apache-2.0
#include "train/training_step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "core/log.hpp"
#include "tensor/combine.hpp"
#include "train/bucket_tuner.hpp"
#include "train/gradient_norm.hpp"

namespace phalanx {

namespace {

// Places in the tail of the gradient arena.
constexpr std::size_t kLoss = 0, kCorrect = 1, kStop = 2;

/// Of a tensor that holds one.
template <class T>
TensorType floats_of() {
  return {DType::kF32, Shape{std::int64_t{sizeof(T) / sizeof(float)}}};
}
static_assert(sizeof(RandomPlace) == 2 * sizeof(std::int64_t));

}  // namespace

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
      reducer_(reducer),
      is_classifier_(network.options().loss != "mean_squared_error") {
  const TensorType scalar(DType::kF32, Shape{});
  const Device device = stream.device();
  seed_on_host_ = HostTensor(scalar, device);
  seed_ = Tensor(scalar, stream);
  *seed_on_host_.as<float>().data() = 0;
  tail_on_host_ = HostTensor(tail().type, device);
  stop_ = HostTensor(scalar, device);
  own_losses_ = HostTensor({DType::kF32, Shape{config.accumulate}}, device);
  own_slices_.resize(static_cast<std::size_t>(config.accumulate));
  if (!network.cut_weight().empty())
    cut_norm_.emplace(network.parameters().layout(), network.cut_weight(), comm, stream);
  if (device.backend != nullptr) {
    const TensorType verdict = floats_of<StepVerdict>(), limits = floats_of<StepLimits>(),
                     places(DType::kI64, Shape{config.accumulate, 2});
    verdict_ = Tensor(verdict, stream);
    verdict_on_host_ = HostTensor(verdict, device);
    limits_ = Tensor(limits, stream);
    limits_on_host_ = HostTensor(limits, device);
    places_ = Tensor(places, stream);
    places_on_host_ = HostTensor(places, device);
    const std::int64_t blocks =
        cut_norm_ ? cut_norm_->blocks() : blocks_of_norm(network.parameters().parameters().numel());
    norm_sums_ = Tensor({DType::kI64, Shape{blocks}}, stream);
  }
  if (config.cuda_graph) {
    const std::string why_not = why_not_captured(config, comm, device);
    if (why_not.empty())
      graphs_.emplace(comm, stream);
    else if (comm.rank() == 0)
      log_info("cuda-graph = true has no effect: {}", why_not);
  }
  if (!config.reproducible) return;
  local_shards_ = config.virtual_shards / comm.size();
  if (config.accumulate > 1) sum_of_micro_batches_ = Tensor(network.gradients().type, stream);
}

TensorView TrainingStep::tail() const noexcept {
  const TensorView arena = network_.gradients();
  return {arena.as<float>() + arena.numel() - Network::kTail, {DType::kF32, Shape{Network::kTail}}};
}

TensorView TrainingStep::tail(std::size_t place) const noexcept {
  return {tail().as<float>() + place, {DType::kF32, Shape{}}};
}

void TrainingStep::add_to_tail(std::size_t place, ConstTensorView value, bool is_first) {
  const TensorView to = tail(place);
  const std::array<const void*, 2> parts{to.data, value.data};
  combine(ReduceOp::kSum, DType::kF32, std::span(parts).subspan(is_first ? 1 : 0), to.data, 1,
          stream_);
}

void TrainingStep::send_stop() { upload(stop_.view(), tail(kStop), stream_); }

/// Waits for the step.
void TrainingStep::read_tail(StepReport& report) {
  comm_.synchronize(stream_);
  const std::span<const float> values = tail_on_host_.as<float>();
  report.loss_sum = static_cast<double>(values[kLoss]);
  report.correct = static_cast<double>(values[kCorrect]);
  report.stop_requested = values[kStop] > 0;
}

/// The gradient of the loss. It changes with the size of the global batch only.
ConstTensorView TrainingStep::seed(const Batch& batch) {
  const float value = 1.0f / static_cast<float>(batch.slice.global_rows);
  float& known = *seed_on_host_.as<float>().data();
  if (known != value) {
    known = value;
    upload(seed_on_host_.view(), seed_.view(), stream_);
  }
  return seed_.view();
}

RunOptions TrainingStep::run_options(const Batch& batch, std::int64_t step, bool reduces) {
  RunOptions options{.random = {.seed = static_cast<std::uint64_t>(config_.seed)},
                     .parameter_version = parameter_version(step)};
  if (on_cpu()) {
    options.random.step = static_cast<std::uint64_t>(step);
    options.random.first_row = static_cast<std::uint64_t>(batch.slice.first_row);
  } else {
    options.random_place = static_cast<const RandomPlace*>(places_.view().data) + micro_;
  }
  if (reduces && reducer_)
    options.on_gradients_final = [this](std::int64_t elements) {
      reducer_->ready(elements, stream_);
    };
  if (trace_ != nullptr && on_cpu()) {
    options.on_node_done = [this](const Node& node, Trace::Time begin) {
      trace_since(node.name.c_str(), begin);
    };
  } else if (trace_ != nullptr) {
    options.on_node = [this](const Node&) { spans_->begin(); };
    options.on_node_done = [this](const Node& node, Trace::Time) { spans_->end(node.name); };
  }
  if (!network_.cut_weight().empty())
    options.collective = [this](TensorView parts) { sum_columns(parts); };
  return options;
}

/// Products of the first layer, in the order of the stream.
void TrainingStep::sum_columns(TensorView parts) {
  constexpr const char* kName = "sum over ranks";
  const auto begin = std::chrono::steady_clock::now();
  const bool is_traced_on_device = trace_ != nullptr && !on_cpu();
  if (is_traced_on_device) spans_->begin();
  comm_.all_reduce(parts, ReduceOp::kSum, stream_);
  if (is_traced_on_device)
    spans_->end(kName);
  else
    trace_since(kName, begin);
}

const Batch& TrainingStep::next_batch() {
  const auto begin = std::chrono::steady_clock::now();
  const Batch& batch = feed_->next();
  trace_since("wait for data", begin);
  return batch;
}

/// What the training thread did until now.
void TrainingStep::trace_since(const char* name, Trace::Time begin) const {
  if (trace_ != nullptr)
    trace_->add(name, Trace::Track::kTraining, begin, std::chrono::steady_clock::now());
}

void TrainingStep::trace_sums() const {
  if (trace_ == nullptr) return;
  for (std::size_t i = 0; i < buckets().size(); ++i)
    trace_->add(fmt::format("sum bucket {}", i), Trace::Track::kCommunication,
                buckets()[i].times.begun, buckets()[i].times.ended);
}

void TrainingStep::begin_micro_batch(std::int64_t micro, const Batch& batch, std::int64_t step) {
  micro_ = micro;
  if (on_cpu()) return;
  static_cast<RandomPlace*>(places_on_host_.view().data)[micro] = {
      .step = static_cast<std::uint64_t>(step),
      .first_row = static_cast<std::uint64_t>(batch.slice.first_row)};
}

/// Of the present micro-batch, to the device.
void TrainingStep::send_place() {
  if (on_cpu()) return;
  const TensorType type(DType::kI64, Shape{2});
  upload({places_on_host_.as<std::int64_t>().data() + 2 * micro_, type},
         {places_.as<std::int64_t>().data() + 2 * micro_, type}, stream_);
}

void TrainingStep::run_micro_batch(const Batch& batch, std::int64_t step, bool is_last) {
  if (batch.slice.is_empty()) return;
  send_place();
  Executor& executor = network_.training(batch.x.shape()[0]);
  RunOptions options = run_options(batch, step, is_last);
  options.accumulate = has_gradients_;
  executor.feed("x", batch.x);
  executor.feed("target", batch.y);
  executor.feed("dloss", seed(batch));
  executor.run(options);
  const bool is_first = !has_gradients_;
  has_gradients_ = true;
  const ConstTensorView loss = executor.output("loss");
  fetch_own_loss(loss);
  note_own_loss(batch.slice);
  add_to_tail(kLoss, loss, is_first);
  if (is_classifier_) add_to_tail(kCorrect, executor.output("correct"), is_first);
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
      fill_zero(arena, stream_);
    sums.emplace_back(arena.type, stream_);
    copy(arena, sums.back().view(), stream_);
    parts.push_back(sums.back().view().data);
    row += rows;
  }
  combine(ReduceOp::kSum, DType::kF32, parts, arena.data, arena.numel(), stream_);
}

void TrainingStep::run_equal_shards(const Batch& batch, std::int64_t first_row, std::int64_t rows,
                                    std::int64_t shards, const RunOptions& options) {
  Executor& executor = network_.training(rows, shards);
  executor.feed("x", rows_of(batch.x, first_row, rows * shards));
  executor.feed("target", rows_of(batch.y, first_row, rows * shards));
  executor.feed("dloss", seed(batch));
  executor.run(options);
  std::vector<const void*> losses, right;
  for (std::int64_t s = 0; s < shards; ++s) {
    losses.push_back(executor.output("loss", s).data);
    if (is_classifier_) right.push_back(executor.output("correct", s).data);
  }
  combine(ReduceOp::kSum, DType::kF32, losses, tail(kLoss).data, 1, stream_);
  if (is_classifier_) combine(ReduceOp::kSum, DType::kF32, right, tail(kCorrect).data, 1, stream_);
}

/// The mean over all shards of what each would make of them.
void TrainingStep::update_states() {
  ParameterSet& parameters = network_.parameters();
  const TensorView states = parameters.states();
  copy({network_.gradients().as<float>() + parameters.layout().parameter_elements(), states.type},
       states, stream_);
  scale(states, 1.0f / static_cast<float>(states_summed_), stream_);
}

void TrainingStep::run_reproducibly(std::int64_t step, StepReport& report) {
  const TensorView arena = network_.gradients();
  states_summed_ = 0;
  for (std::int64_t micro = 0; micro < config_.accumulate; ++micro) {
    const Batch& batch = next_batch();
    report.samples = batch.slice.global_rows;
    begin_micro_batch(micro, batch, step);
    send_place();
    run_shards(batch, step);
    fetch_own_loss(tail(kLoss));
    note_own_loss(batch.slice);
    send_stop();
    if (reducer_) report.overlap += reducer_->finish(stream_);
    if (config_.accumulate == 1) break;
    const std::array<const void*, 2> parts{sum_of_micro_batches_.view().data, arena.data};
    combine(ReduceOp::kSum, DType::kF32, std::span(parts).subspan(micro == 0 ? 1 : 0),
            sum_of_micro_batches_.view().data, arena.numel(), stream_);
  }
  if (config_.accumulate > 1) copy(sum_of_micro_batches_.view(), arena, stream_);
}

/// Of all parameters, also where this rank holds columns of one only.
double TrainingStep::gradient_norm(ConstTensorView gradients) {
  if (optimizer_.is_sharded()) return norm_of_parts(gradients, *reducer_, comm_, stream_);
  return cut_norm_ ? cut_norm_->norm(gradients) : norm(gradients);
}

void TrainingStep::run_and_sum(std::int64_t step, StepReport& report) {
  if (config_.reproducible) return run_reproducibly(step, report);
  has_gradients_ = false;
  for (std::int64_t micro = 0; micro < config_.accumulate; ++micro) {
    const Batch& batch = next_batch();
    report.samples = batch.slice.global_rows;
    begin_micro_batch(micro, batch, step);
    run_micro_batch(batch, step, micro + 1 == config_.accumulate);
  }
  finish_sums(report);
}

/// What is left of the gradients' way to their sums.
void TrainingStep::finish_sums(StepReport& report) {
  if (!has_gradients_) fill_zero(network_.gradients(), stream_);
  send_stop();
  if (reducer_) {
    report.overlap = reducer_->finish(stream_);
  } else if (comm_.size() > 1) {  // by columns: every rank has seen every row
    comm_.all_reduce(tail(kStop), ReduceOp::kMax, stream_);
  }
}

void TrainingStep::fetch_own_loss(ConstTensorView loss) {
  download(loss, {own_losses_.as<float>().data() + own_count_, loss.type}, stream_);
}

/// Of the losses that this rank has computed in this step.
void TrainingStep::find_own_bad_loss(StepReport& report) {
  for (std::size_t i = 0; i < own_count_ && report.first_bad_row < 0; ++i) {
    if (std::isfinite(own_losses_.as<float>()[i])) continue;
    report.first_bad_row = own_slices_[i].first_row;
    report.bad_rows = own_slices_[i].rows;
  }
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

TensorView TrainingStep::parameter_gradients() const noexcept {
  return {network_.gradients().data, network_.parameters().parameters().type};
}

Optimizer::Arenas TrainingStep::arenas() const noexcept {
  const ParameterSet& parameters = network_.parameters();
  return {parameters.parameters(), parameter_gradients(), parameters.copies()};
}

// --- on the CPU, where a call is done when it returns

void TrainingStep::judge(const Request& request, StepReport& report) {
  if (config_.clip_norm > 0 || request.want_norm)
    report.gradient_norm = gradient_norm(parameter_gradients());
  const double mean =
      report.loss_sum / static_cast<double>(std::max<std::int64_t>(report.samples, 1));
  report.is_bad =
      !std::isfinite(mean) || mean > request.loss_limit || !std::isfinite(report.gradient_norm);
}

void TrainingStep::run_on_cpu(std::int64_t step, const Request& request, StepReport& report) {
  keep_states();
  run_and_sum(step, report);
  fetch_tail();
  read_tail(report);
  judge(request, report);
  if (report.is_bad) return;
  const bool clips = config_.clip_norm > 0 && report.gradient_norm > config_.clip_norm;
  if (request.before_update) request.before_update();
  const auto updating = std::chrono::steady_clock::now();
  const Optimizer::Updated updated =
      optimizer_.update(arenas(), request.learning_rate,
                        clips ? config_.clip_norm / report.gradient_norm : 1.0, step, stream_);
  report.overlap += updated.gathering;
  if (updated.has_copy) network_.parameters().set_copies_version(parameter_version(step + 1));
  trace_since("optimizer", updating);
  trace_sums();
}

// --- on a GPU, where the host enqueues a whole step and waits once

void TrainingStep::set_limits(const Request& request, std::int64_t samples) {
  *static_cast<StepLimits*>(limits_on_host_.view().data) = {
      .samples = static_cast<float>(std::max<std::int64_t>(samples, 1)),
      .loss_limit = static_cast<float>(request.loss_limit),
      .clip_norm = static_cast<float>(config_.clip_norm)};
}

/// The optimizer reads the verdict where it is made.
void TrainingStep::judge_and_update(bool wants_norm, StepReport& report) {
  std::int64_t blocks = 0;
  if (config_.clip_norm > 0 || wants_norm) {
    blocks = norm_sums_.type().shape[0];
    if (cut_norm_)
      cut_norm_->add_blocks(parameter_gradients(), norm_sums_.view());
    else
      norm_blocks(parameter_gradients(), optimizer_.is_sharded() ? reducer_ : nullptr,
                  norm_sums_.view(), comm_, stream_);
  }
  upload(limits_on_host_.view(), limits_.view(), stream_);
  stream_.device().backend->judge_step(
      static_cast<const StepLimits*>(limits_.view().data),
      static_cast<const double*>(norm_sums_.view().data), blocks, tail(kLoss).as<float>(),
      static_cast<StepVerdict*>(verdict_.view().data), stream_.handle());
  if (trace_ != nullptr) spans_->begin();
  constexpr std::size_t kScale = offsetof(StepVerdict, gradient_scale) / sizeof(float);
  report.overlap +=
      optimizer_
          .update(arenas(), {verdict_.as<float>().data() + kScale, {DType::kF32, Shape{}}}, stream_)
          .gathering;
  if (trace_ != nullptr) spans_->end("optimizer");
  download(verdict_.view(), verdict_on_host_.view(), stream_);
  fetch_tail();
}

/// What is different each time is put where the graph reads it. The rest of what a step leaves on the host is as after a step
/// that was not captured.
void TrainingStep::run_captured(std::int64_t step, const Request& request, StepReport& report) {
  const Batch& batch = next_batch();
  report.samples = batch.slice.global_rows;
  begin_micro_batch(0, batch, step);
  set_limits(request, report.samples);
  (void)seed(batch);
  ParameterSet& parameters = network_.parameters();
  if (parameters.copies()) parameters.refresh_copies(parameter_version(step), stream_);
  const StepKey key{.x = batch.x.data,
                    .y = batch.y.data,
                    .rows = batch.slice.is_empty() ? 0 : batch.x.shape()[0],
                    .arena_bytes = network_.arena_bytes(),
                    .buckets = reducer_ != nullptr ? reducer_->buckets() : 0,
                    .wants_norm = request.want_norm};
  const bool was_captured = graphs_->run(key, [&] {
    has_gradients_ = false;
    keep_states();
    run_micro_batch(batch, step, true);
    finish_sums(report);
    judge_and_update(request.want_norm, report);
  });
  if (!was_captured) return;
  if (!batch.slice.is_empty()) note_own_loss(batch.slice);
  if (reducer_ != nullptr) reducer_->forget_times();
}

void TrainingStep::run_on_device(std::int64_t step, const Request& request, StepReport& report) {
  if (trace_ != nullptr) {
    if (!spans_) spans_.emplace(stream_);
    comm_.synchronize(stream_);
    spans_->align();
  }
  optimizer_.set_constants(request.learning_rate, step);
  if (graphs_ && trace_ == nullptr && request.may_be_captured) {
    run_captured(step, request, report);
  } else {
    keep_states();
    run_and_sum(step, report);
    set_limits(request, report.samples);
    judge_and_update(request.want_norm, report);
  }
  if (optimizer_.writes_copy(arenas()))
    network_.parameters().set_copies_version(parameter_version(step + 1));
  if (request.before_update) request.before_update();
  feed_->prefetch();
  const auto waiting = std::chrono::steady_clock::now();
  read_tail(report);
  trace_since("wait for GPU", waiting);
  if (reducer_ != nullptr && !config_.reproducible) report.overlap = reducer_->measure();
  trace_sums();
  if (trace_ != nullptr) spans_->move_to(*trace_);
  const auto& verdict = *static_cast<const StepVerdict*>(verdict_on_host_.view().data);
  report.gradient_norm = static_cast<double>(verdict.norm);
  report.is_bad = verdict.is_bad != 0.0f;
}

StepReport TrainingStep::run(Loader& loader, std::int64_t step, const Request& request) {
  StepReport report;
  report.stop_requested = request.stop;
  trace_ = request.trace;
  own_count_ = 0;
  *stop_.as<float>().data() = request.stop ? 1.0f : 0.0f;
  if (!feed_ || &feed_->loader() != &loader) feed_.emplace(loader, stream_);
  if (on_cpu())
    run_on_cpu(step, request, report);
  else
    run_on_device(step, request, report);
  find_own_bad_loss(report);
  if (report.is_bad) {
    restore_states();
    if (reducer_ != nullptr) reducer_->forget_rounding();
  } else if (config_.reproducible) {
    update_states();
  }
  return report;
}

}  // namespace phalanx
