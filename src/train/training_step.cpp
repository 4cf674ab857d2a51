// SPDX-License-Identifier: Apache-2.0
#include "train/training_step.hpp"

#include <algorithm>
#include <cmath>

#include "train/evaluate.hpp"

namespace phalanx {

TrainingStep::TrainingStep(const TrainConfig& config, Network& network, Optimizer& optimizer,
                           Communicator& comm, Stream& stream)
    : config_(config), network_(network), optimizer_(optimizer), stream_(stream), comm_(comm) {
  if (comm.size() > 1 && network.cut_weight().empty())
    reducer_ = std::make_unique<GradientReducer>(
        comm, network.gradients(),
        static_cast<std::size_t>(config.bucket_mib * static_cast<double>(1 << 20)));
}

void TrainingStep::run_micro_batch(const Batch& batch, std::int64_t step, bool is_last,
                                   StepReport& report) {
  report.samples = batch.slice.global_rows;
  if (batch.slice.is_empty()) return;
  seed_ = 1.0f / static_cast<float>(batch.slice.global_rows);
  Executor& executor = network_.training(batch.x.shape()[0]);
  executor.feed("x", batch.x);
  executor.feed("target", batch.y);
  executor.feed("dloss", {&seed_, {DType::kF32, Shape{}}});
  RunOptions options{.random = {.seed = static_cast<std::uint64_t>(config_.seed),
                                .step = static_cast<std::uint64_t>(step),
                                .first_row = static_cast<std::uint64_t>(batch.slice.first_row)},
                     .accumulate = has_gradients_,
                     .parameter_version = parameter_version(step)};
  if (is_last && reducer_)
    options.on_gradients_final = [this](std::int64_t elements) {
      reducer_->ready(elements, stream_);
    };
  if (!network_.cut_weight().empty())
    options.collective = [this](TensorView sum) { comm_.all_reduce(sum, ReduceOp::kSum, stream_); };
  executor.run(options);
  has_gradients_ = true;
  report.loss_sum += static_cast<double>(*executor.output("loss").as<float>());
  if (network_.options().loss != "mean_squared_error")
    report.correct += static_cast<double>(
        count_correct(network_.options().loss, executor.output("logits"), batch.y));
}

/// Of all parameters, also where this rank holds columns of one only.
double TrainingStep::gradient_norm(ConstTensorView gradients) {
  const double whole = norm(gradients);
  if (network_.cut_weight().empty()) return whole;
  const ParameterSlot& slot = network_.parameters().layout().parameter(network_.cut_weight());
  const double mine = norm({gradients.as<float>() + slot.offset, {DType::kF32, slot.shape}});
  auto sum = static_cast<float>(mine * mine);
  comm_.all_reduce({&sum, {DType::kF32, Shape{1}}}, ReduceOp::kSum, stream_);
  return std::sqrt(std::max(whole * whole - mine * mine, 0.0) + static_cast<double>(sum));
}

StepReport TrainingStep::run(Loader& loader, std::int64_t step, double learning_rate,
                             bool want_norm) {
  StepReport report;
  has_gradients_ = false;
  const TensorView arena = network_.gradients();
  const std::int64_t elements = arena.numel() - Network::kTail;
  for (std::int64_t micro = 0; micro < config_.accumulate; ++micro)
    run_micro_batch(loader.next(), step, micro + 1 == config_.accumulate, report);
  auto* tail = arena.as<float>() + elements;
  if (!has_gradients_) std::fill_n(arena.as<float>(), elements, 0.0f);
  if (reducer_) {
    tail[0] = static_cast<float>(report.loss_sum);
    tail[1] = static_cast<float>(report.correct);
    report.overlap = reducer_->finish(stream_);
    report.loss_sum = static_cast<double>(tail[0]);
    report.correct = static_cast<double>(tail[1]);
  }
  const TensorView gradients{arena.data, {DType::kF32, Shape{elements}}};
  double scale = 1;
  if (config_.clip_norm > 0 || want_norm) {
    report.gradient_norm = gradient_norm(gradients);
    if (config_.clip_norm > 0 && report.gradient_norm > config_.clip_norm)
      scale = config_.clip_norm / report.gradient_norm;
  }
  ParameterSet& parameters = network_.parameters();
  optimizer_.update({parameters.parameters(), gradients, parameters.copies()}, learning_rate, scale,
                    step, stream_);
  parameters.set_copies_version(parameter_version(step + 1));
  return report;
}

}  // namespace phalanx
