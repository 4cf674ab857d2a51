// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <span>

#include "core/log.hpp"
#include "core/text.hpp"
#include "formats/atomic_file.hpp"
#include "formats/checkpoint.hpp"
#include "train/bucket_tuner.hpp"
#include "train/data_options.hpp"
#include "train/divergence.hpp"
#include "train/manifest.hpp"
#include "train/recent_losses.hpp"
#include "train/resume.hpp"
#include "train/run_energy.hpp"
#include "train/run_outputs.hpp"
#include "train/schedule.hpp"
#include "train/training_step.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// The input columns of this rank; empty unless partition = column on several ranks.
Range my_columns(const TrainConfig& config, const TrainContext& context) {
  if (parse_partition(config.partition) != Partition::kColumn || context.layout.size == 1)
    return {};
  const std::int64_t features = context.train.info().sample.numel();
  if (features < context.layout.size)
    throw ConfigError(fmt::format("partition = column: {} columns cannot be cut over {} ranks",
                                  features, context.layout.size));
  return columns(features, context.layout.rank, context.layout.size);
}

const TrainConfig& check_ranks(const TrainConfig& config, const RankLayout& layout) {
  const bool on_cpu = layout.device.kind == DeviceKind::kCpu;
  if (config.precision == "tf32" && on_cpu)
    throw ConfigError(
        "precision = tf32 is for the tensor cores of a GPU, and this run computes on the CPU");
  if (config.reproducible && config.virtual_shards % layout.size != 0)
    throw ConfigError(
        fmt::format("reproducible: {} virtual shards cannot be shared equally by {} ranks; use 1, "
                    "2, 4, ... ranks, up to {}",
                    config.virtual_shards, layout.size, config.virtual_shards));
  return config;
}

/// Sums over the steps since the last line of metrics.
struct Interval {
  Clock::time_point begin = Clock::now();
  double loss = 0, correct = 0, samples = 0, communication = 0, exposed = 0, wait_before = 0;
  std::vector<OverlapTimes> buckets;
};

OverlapTimes overlap_of(const GradientReducer::Bucket& bucket) {
  return {std::chrono::duration<double>(bucket.times.ended - bucket.times.begun).count(),
          bucket.exposed_seconds};
}

class Trainer {
 public:
  Trainer(const TrainConfig& config, const TrainContext& context)
      : config_(check_ranks(config, context.layout)),
        context_(context),
        loss_(resolve_loss(config, context.train.info())),
        owned_network_(std::make_unique<Network>(
            NetworkOptions{.model = model_spec(config, context.train.info()),
                           .loss = loss_,
                           .precision = config.precision,
                           .sums_states = config.reproducible,
                           .gathers_parameters = config.shard_optimizer,
                           .columns = my_columns(config, context)},
            share_of(share_of(config.batch_size, 0, static_cast<int>(config.accumulate)).size(), 0,
                     context.layout.size)
                .size(),
            context.stream, &context.comm)),
        network_(*owned_network_),
        reducer_(make_gradient_reducer(config, network_, context.comm, context.stream)),
        optimizer_(config, network_.parameters().parameters().numel(), reducer_.get(),
                   context.stream),
        step_(config_, network_, optimizer_, reducer_.get(), context.comm, context.stream),
        train_(context.train,
               Sampler(sampler_options(config, context.layout, context.train.size(), true)),
               transform_options(config, loss_, true), config.prefetch, context.stream.device()),
        folder_(config.output + "/checkpoints") {
    if (context.test != nullptr)
      test_.emplace(*context.test,
                    Sampler(sampler_options(config, context.layout, context.test->size(), false)),
                    transform_options(config, loss_, false), config.prefetch,
                    context.stream.device());
    if (!network_.cut_weight().empty())
      shards_.emplace(network_.cut_weight(), network_.options().columns,
                      network_.options().model.sample.numel(), context.comm, context.stream);
    steps_per_epoch_ = train_.sampler().steps_per_epoch();
    total_steps_ =
        static_cast<std::int64_t>(std::ceil(config.epochs * static_cast<double>(steps_per_epoch_)));
    if (config.max_steps > 0) total_steps_ = std::min(total_steps_, config.max_steps);
    schedule_.emplace(config, steps_per_epoch_, total_steps_);
  }

  TrainResult run() {
    network_.initialise(static_cast<std::uint64_t>(config_.seed));
    start_record();
    check_best_metric();
    resume();
    saver_.emplace(config_, context_.layout, folder_, network_.parameters(), optimizer_, shards(),
                   context_.stream);
    open_outputs();
    tuner_.emplace(config_, reducer_.get(), context_.comm, host_);
    write_manifest();
    train_.begin(record_.epoch, record_.step_in_epoch);
    if (!config_.trace.empty()) trace_.emplace(context_.comm);
    energy_.emplace(config_, context_.layout, context_.comm, host_);
    interval_ = {};
    if (record_.step >= total_steps_)
      result_.reason = config_.max_steps > 0 ? "max-steps" : "epochs";
    if (record_.evaluation_due && test_) catch_up();
    train();
    finish();
    return std::move(result_);
  }

 private:
  const ColumnShards* shards() const noexcept { return shards_ ? &*shards_ : nullptr; }

  // --- start

  /// A metric that the task does not have is refused before the first step.
  void check_best_metric() const {
    const bool has_classes = loss_ == "softmax_cross_entropy";
    const bool has_five = has_classes && network_.options().model.outputs > 5;
    (void)metric_of({.top5_accuracy = has_five ? 1.0 : 0.0,
                     .perplexity = has_classes ? 1.0 : 0.0,
                     .classes = 2,
                     .is_classifier = loss_ != "mean_squared_error"},
                    record_.best_metric);
  }

  void start_record() {
    const DatasetInfo& info = context_.train.info();
    record_ = {.model = network_.options().model,
               .loss = loss_,
               .precision = config_.precision,
               .is_image = info.kind == SampleKind::kImage,
               .normalise = config_.normalise,
               .normalise_targets = train_.transform().changes_targets(),
               .mean = info.mean,
               .std = info.std,
               .target_mean = info.target_mean,
               .target_std = info.target_std,
               .class_names = info.class_names,
               .feature_names = info.feature_names,
               .target_names = info.target_names,
               .data_sha256 = info.content_sha256,
               .best_metric = config_.best_metric != "auto"   ? config_.best_metric
                              : loss_ == "mean_squared_error" ? "loss"
                                                              : "accuracy",
               .config = context_.config_text};
  }

  void resume() {
    const auto newest = newest_checkpoint(folder_, context_.comm, host_);
    if (!newest) return;
    const RunRecord before = run_record_from_json(newest->run(), newest->path());
    check_same_run(before, record_, newest->path());
    load_training_state(*newest, network_.parameters(), optimizer_, shards(), context_.stream);
    const std::string config = record_.config;
    record_ = before;
    record_.config = config;
    for (const double loss : record_.recent_losses) recent_losses_.add(loss);
    result_.resumed_from = record_.step;
    seconds_before_ = record_.seconds;
    if (context_.layout.rank == 0)
      log_info("resuming from {}: step {}, epoch {}", newest->path(), record_.step, record_.epoch);
  }

  void open_outputs() {
    if (context_.layout.rank == 0)
      write_file_atomically(config_.output + "/config.cfg", context_.config_text);
    const bool terminal = stderr_is_terminal();
    const RunProgress first{record_.step, epochs_done()};
    outputs_.emplace(config_.output, context_.layout.rank == 0,
                     result_.resumed_from > 0 ? std::optional(record_.step) : std::nullopt,
                     ProgressBar::Options{.enabled = context_.layout.rank == 0,
                                          .is_terminal = terminal,
                                          .columns = stderr_columns(),
                                          .total_steps = total_steps_,
                                          .total_epochs = static_cast<double>(total_steps_) /
                                                          static_cast<double>(steps_per_epoch_)},
                     first, now());
  }

  /// An error of all ranks at once waits for what rank 0 still writes: the first rank that leaves ends the job.
  void train() {
    try {
      while (result_.reason.empty()) one_step();
    } catch (const LossError&) {
      saver_->finish(context_.comm, host_);
      throw;
    } catch (const DivergenceError&) {
      saver_->finish(context_.comm, host_);
      throw;
    }
  }

  // --- one step

  double now() const { return seconds_since(begin_); }
  double epochs_done() const {
    return static_cast<double>(record_.step) / static_cast<double>(steps_per_epoch_);
  }

  void one_step() {
    const auto begin = Clock::now();
    const bool log_now = (record_.step + 1) % config_.log_every == 0;
    const StepReport report =
        step_.run(train_, record_.step,
                  {.learning_rate = schedule_->rate(record_.step),
                   .want_norm = log_now,
                   .stop = context_.stop != nullptr && context_.stop->raised(),
                   .trace = trace_ ? &*trace_ : nullptr,
                   .loss_limit = recent_losses_.limit(config_.outlier_sigmas),
                   .before_update = [this] { saver_->wait_until_copied(); },
                   .may_be_captured = tuner_->is_done()});
    add_times(seconds_since(begin), report.overlap.exposed_seconds);
    add_trace(begin);
    if (report.is_bad)
      handle_bad_step(report);
    else
      account(report);
    const bool epoch_ends = advance();
    if (log_now) energy_->update();
    if (log_now && !report.is_bad) write_interval(report);
    outputs_->progress({record_.step, epochs_done(), mean_loss_, rate_}, now());
    if (report.stop_requested) result_.reason = "preempted";
    decide(epoch_ends);
  }

  /// After the last of the steps that are traced, the file is written.
  void add_trace(Clock::time_point begin) {
    if (!trace_) return;
    trace_->add(fmt::format("step {}", record_.step), Trace::Track::kTraining, begin, Clock::now());
    if (++traced_steps_ == config_.trace_steps) write_trace();
  }
  void write_trace() {
    trace_->write(config_.trace, context_.layout, context_.comm, host_);
    trace_.reset();
  }

  void add_times(double seconds, double exposed_seconds) {
    const double waited = train_.wait_seconds() - waited_before_;
    waited_before_ = train_.wait_seconds();
    training_seconds_ += seconds;
    if (tuner_->after_step(seconds - waited)) {
      if (context_.layout.rank == 0)
        log_info("bucket = auto: {:.3g} MiB is fastest; run.json has the times of all",
                 static_cast<double>(tuner_->bucket_bytes()) / (1 << 20));
      write_manifest();
    }
    step_times_.add({.step = static_cast<float>(seconds),
                     .data = static_cast<float>(waited),
                     .communication = static_cast<float>(exposed_seconds),
                     .compute = static_cast<float>(seconds - waited - exposed_seconds)});
  }

  void write_manifest() const {
    if (context_.layout.rank == 0)
      write_file_atomically(
          config_.output + "/run.json",
          manifest_json(config_, context_.layout, record_, result_.resumed_from, *tuner_));
  }

  /// Nothing was updated. Which samples it was: by their places in the epoch's order, and on the ranks whose own loss is
  /// to blame by their numbers in the data set.
  void handle_bad_step(const StepReport& report) {
    const std::int64_t first = record_.step_in_epoch * config_.batch_size;
    const std::string what = fmt::format(
        "the loss of step {} (epoch {}, samples {} to {} of its order) is {:g}", record_.step,
        record_.epoch, first, first + report.samples - 1,
        report.loss_sum / static_cast<double>(std::max<std::int64_t>(report.samples, 1)));
    if (report.first_bad_row >= 0) {
      const std::span rows(report.bad_rows);
      log_warning("step {}: not finite on this rank, for samples {} to {}; in the data set {}{}",
                  record_.step, first + report.first_bad_row,
                  first + report.first_bad_row + std::ssize(rows) - 1,
                  fmt::join(rows.first(std::min(rows.size(), kMostRowsNamed)), ", "),
                  rows.size() > kMostRowsNamed
                      ? fmt::format(" and {} more", rows.size() - kMostRowsNamed)
                      : "");
    }
    if (config_.bad_loss == "stop")
      throw LossError(what +
                      ": lower learning-rate, or set clip-norm, or bad-loss = skip; the last "
                      "checkpoint is kept");
    ++result_.skipped_steps;
    if (++skipped_in_a_row_ == kMostSkipped)
      throw LossError(
          fmt::format("{}, and {} steps before it were as bad; the last checkpoint is kept", what,
                      kMostSkipped - 1));
    if (context_.layout.rank == 0) log_warning("{}; left out", what);
  }

  void account(const StepReport& report) {
    interval_.loss += report.loss_sum;
    interval_.correct += report.correct;
    interval_.samples += static_cast<double>(report.samples);
    interval_.communication += report.overlap.communication_seconds;
    interval_.exposed += report.overlap.exposed_seconds;
    interval_.buckets.resize(step_.buckets().size());
    for (std::size_t i = 0; i < interval_.buckets.size(); ++i)
      interval_.buckets[i] += overlap_of(step_.buckets()[i]);
    communication_seconds_ += report.overlap.communication_seconds;
    exposed_seconds_ += report.overlap.exposed_seconds;
    samples_ += static_cast<double>(report.samples);
    record_.epoch_loss_sum += report.loss_sum;
    record_.epoch_samples += report.samples;
    mean_loss_ = report.loss_sum / static_cast<double>(std::max<std::int64_t>(report.samples, 1));
    recent_losses_.add(mean_loss_);
    skipped_in_a_row_ = 0;
    rate_ = training_seconds_ > 0 ? samples_ / training_seconds_ : 0;
  }

  /// Moves the position one step on; true at the end of an epoch.
  bool advance() {
    ++record_.step;
    if (++record_.step_in_epoch < steps_per_epoch_) return false;
    record_.step_in_epoch = 0;
    ++record_.epoch;
    return true;
  }

  void write_interval(const StepReport& report) {
    const double seconds = std::max(seconds_since(interval_.begin), 1e-9);
    std::vector<Metric> values{{"loss", interval_.loss / std::max(interval_.samples, 1.0)}};
    if (loss_ != "mean_squared_error")
      values.emplace_back("accuracy", interval_.correct / std::max(interval_.samples, 1.0));
    values.insert(values.end(),
                  {{"learning_rate", schedule_->rate(record_.step - 1)},
                   {"gradient_norm", report.gradient_norm},
                   {"samples_per_second", interval_.samples / seconds},
                   {"data_wait_share", (train_.wait_seconds() - interval_.wait_before) / seconds},
                   {"communication_seconds", interval_.communication},
                   {"exposed_seconds", interval_.exposed},
                   {"checkpoint_stall_seconds", saver_->stall().seconds - stalled_before_},
                   {"seconds", seconds_before_ + training_seconds_}});
    std::vector<std::string> names;
    names.reserve(2 * interval_.buckets.size());  // the values keep views
    for (std::size_t i = 0; i < interval_.buckets.size() && interval_.buckets.size() > 1; ++i) {
      const OverlapTimes& bucket = interval_.buckets[i];
      names.push_back(fmt::format("bucket_{}_hidden_seconds", i));
      values.emplace_back(names.back(), bucket.communication_seconds - bucket.exposed_seconds);
      names.push_back(fmt::format("bucket_{}_exposed_seconds", i));
      values.emplace_back(names.back(), bucket.exposed_seconds);
    }
    outputs_->metrics(record_.step, epochs_done(), config_.train_split, values);
    interval_ = {.wait_before = train_.wait_seconds()};
    stalled_before_ = saver_->stall().seconds;
  }

  // --- energy

  void write_epoch_energy() {
    const EnergyUse use = energy_->of_all_nodes();
    if (!use.is_known) return;
    const double joules = use.total_joules() - joules_before_;
    joules_before_ = use.total_joules();
    outputs_->metrics(
        record_.step, epochs_done(), config_.train_split,
        std::vector<Metric>{{use.is_estimate ? "estimated_joules" : "joules", joules},
                            {use.is_estimate ? "estimated_joules_per_sample" : "joules_per_sample",
                             joules / std::max(samples_ - samples_before_, 1.0)}});
    samples_before_ = samples_;
  }

  // --- what happens between steps

  void decide(bool epoch_ends) {
    const double epoch_loss = record_.epoch_loss_sum /
                              static_cast<double>(std::max<std::int64_t>(record_.epoch_samples, 1));
    if (epoch_ends) {
      write_epoch_energy();
      result_.train_loss = epoch_loss;
      record_.epoch_loss_sum = 0;
      record_.epoch_samples = 0;
    }
    const bool is_preempted = result_.reason == "preempted";
    if (!is_preempted) result_.reason = reason_to_end(epoch_ends, epoch_loss);
    const bool ends = !result_.reason.empty();
    const bool evaluation_is_due =
        test_ && ((ends && !is_preempted) ||
                  (epoch_ends && config_.evaluate_every > 0 &&
                   record_.epoch % config_.evaluate_every == 0) ||
                  (config_.evaluate_steps > 0 && record_.step % config_.evaluate_steps == 0));
    const bool evaluate_now = evaluation_is_due && !is_preempted;
    record_.evaluation_due = evaluation_is_due && is_preempted;
    const bool save_now =
        ends ||
        (epoch_ends && config_.checkpoint_every > 0 &&
         record_.epoch % config_.checkpoint_every == 0) ||
        (config_.checkpoint_steps > 0 && record_.step % config_.checkpoint_steps == 0);
    if (context_.comm.size() > 1 && config_.check_divergence > 0 &&
        (ends || record_.step % config_.check_divergence == 0))
      check_divergence(network_.parameters(), network_.cut_weight(), context_.layout, context_.comm,
                       context_.stream);
    if (evaluate_now || save_now) average_states();
    bool is_best = false;
    if (evaluate_now) is_best = evaluate_and_compare();
    const bool numbered = save_now || !result_.reason.empty();  // the evaluation may end the run
    if (numbered || is_best) save(is_best, numbered);
    if (evaluate_now || save_now || is_best) interval_ = {.wait_before = train_.wait_seconds()};
  }

  /// Empty: there is none.
  std::string reason_to_end(bool epoch_ends, double epoch_loss) {
    if (record_.step >= total_steps_)
      return config_.max_steps > 0 && total_steps_ == config_.max_steps ? "max-steps" : "epochs";
    if (epoch_ends && config_.stop_loss > 0 && epoch_loss <= config_.stop_loss) return "stop-loss";
    if (config_.max_seconds > 0 && time_is_up()) return "max-seconds";
    return {};
  }

  /// Rank 0's clock decides for all.
  bool time_is_up() {
    std::int64_t up = seconds_before_ + training_seconds_ >= config_.max_seconds ? 1 : 0;
    context_.comm.broadcast({&up, {DType::kI64, Shape{1}}}, 0, host_);
    return up != 0;
  }

  /// Each rank has kept running statistics of its own share; from here on all have their mean.
  void average_states() {
    if (context_.comm.size() == 1 || config_.reproducible) return;
    const TensorView states = network_.parameters().states();
    context_.comm.all_reduce(states, ReduceOp::kSum, context_.stream);
    scale(states, 1.0f / static_cast<float>(context_.comm.size()), context_.stream);
  }

  /// The evaluation that a preempted run had no time for.
  void catch_up() {
    record_.evaluation_due = false;
    save(evaluate_and_compare(), true);
  }

  /// True if this is the best evaluation so far.
  bool evaluate_and_compare() {
    result_.test =
        evaluate(network_, *test_, context_.comm, context_.stream, parameter_version(record_.step));
    const Evaluation& e = result_.test;
    std::vector<Metric> values = metrics_of(e);
    values.insert(values.end(), {{"samples_per_second",
                                  static_cast<double>(e.samples) / std::max(e.seconds, 1e-9)},
                                 {"seconds", seconds_before_ + training_seconds_}});
    outputs_->metrics(record_.step, epochs_done(), config_.test_split, values);
    outputs_->note(
        e.is_classifier
            ? fmt::format("epoch {:g}: {} loss {:.4f}, accuracy {:.4f}", epochs_done(),
                          config_.test_split, e.loss, e.accuracy)
            : fmt::format("epoch {:g}: {} loss {:.4f}, mean absolute error {:.4g}, R2 {:.4f}",
                          epochs_done(), config_.test_split, e.loss, e.mean_absolute_error, e.r2));
    const bool higher = is_better_when_higher(record_.best_metric);
    const double value = metric_of(e, record_.best_metric);
    if (!record_.has_best || (higher ? value > record_.best_value : value < record_.best_value)) {
      record_.has_best = true;
      record_.best_value = value;
      record_.evaluations_since_best = 0;
      return true;
    }
    ++record_.evaluations_since_best;
    if (config_.early_stop > 0 && record_.evaluations_since_best >= config_.early_stop &&
        result_.reason.empty())
      result_.reason = "early-stop";
    return false;
  }

  void save(bool is_best, bool numbered) {
    record_.seconds = seconds_before_ + training_seconds_;
    if (config_.outlier_sigmas > 0) record_.recent_losses = recent_losses_.values();
    result_.checkpoint = numbered ? folder_.path_of_step(record_.step) : result_.checkpoint;
    if (is_best) result_.best_checkpoint = folder_.best_path();
    if (reducer_) reducer_->forget_rounding();  // a run that resumes from here knows none
    if (!result_.reason.empty()) result_.stall = saver_->stall();
    saver_->save(record_, is_best, numbered);
  }

  void finish() {
    saver_->wait_until_copied();  // frees what was gathered, before memory is measured
    if (result_.checkpoint.empty()) result_.checkpoint = folder_.path_of_step(record_.step);
    if (record_.has_best) result_.best_checkpoint = folder_.best_path();
    if (result_.test.samples == 0 && test_ && result_.reason != "preempted")
      result_.test = evaluate(network_, *test_, context_.comm, context_.stream,
                              parameter_version(record_.step));
    result_.steps = record_.step;
    result_.graphs = step_.graphs();
    result_.seconds = seconds_before_ + training_seconds_;
    result_.samples_per_second = rate_;
    result_.hidden_share = OverlapTimes{communication_seconds_, exposed_seconds_}.hidden_share();
    result_.exposed_share = training_seconds_ > 0 ? exposed_seconds_ / training_seconds_ : 0;
    result_.wait_share = training_seconds_ > 0 ? train_.wait_seconds() / training_seconds_ : 0;
    if (trace_) write_trace();
    result_.energy = energy_->of_all_nodes();
    result_.samples = samples_;
    result_.ranks = gather(step_times_.quantiles(), context_.comm, host_);
    if (context_.layout.rank == 0 && record_.step > result_.resumed_from)
      write_file_atomically(config_.output + "/ranks.json",
                            to_json(result_.ranks, context_.layout));
    train_.end();
    saver_->finish(context_.comm, host_);
    outputs_->finish(now());
    context_.comm.barrier();  // a rank that hangs is named; later it is only waited for
    if (!context_.keeps_network) return;
    network_.release_training();
    result_.network = std::move(owned_network_);
    result_.record = record_;
  }

  const TrainConfig& config_;
  const TrainContext& context_;
  Stream host_{Device{}};  // for sums of what the host knows
  std::string loss_;
  std::unique_ptr<Network> owned_network_;
  Network& network_;
  std::unique_ptr<GradientReducer> reducer_;
  Optimizer optimizer_;
  TrainingStep step_;
  std::optional<ColumnShards> shards_;
  Loader train_;
  std::optional<Loader> test_;
  CheckpointFolder folder_;
  std::optional<Schedule> schedule_;
  std::optional<CheckpointSaver> saver_;
  std::optional<RunOutputs> outputs_;
  std::optional<BucketTuner> tuner_;
  RunRecord record_;
  TrainResult result_;
  Interval interval_;
  Clock::time_point begin_ = Clock::now();
  std::int64_t steps_per_epoch_ = 0, total_steps_ = 0;
  double seconds_before_ = 0;    // trained by earlier parts of a resumed run
  double training_seconds_ = 0;  // trained by this process
  double samples_ = 0, communication_seconds_ = 0, exposed_seconds_ = 0;
  double mean_loss_ = 0, rate_ = 0;
  std::optional<RunEnergy> energy_;
  double joules_before_ = 0, samples_before_ = 0;  // at the end of the last epoch
  std::optional<Trace> trace_;
  std::int64_t traced_steps_ = 0;
  RecentLosses recent_losses_;
  StepTimes step_times_;
  double waited_before_ = 0;   // for data, before this step
  double stalled_before_ = 0;  // for checkpoints, before the last line of metrics
  static constexpr int kMostSkipped = 10;
  static constexpr std::size_t kMostRowsNamed = 16;
  int skipped_in_a_row_ = 0;
};

}  // namespace

std::string resolve_loss(const TrainConfig& config, const DatasetInfo& info) {
  const std::string fitting = info.target == TargetKind::kClass ? "softmax_cross_entropy"
                              : info.binary                     ? "binary_cross_entropy"
                                                                : "mean_squared_error";
  if (config.loss == "auto") return fitting;
  const bool values_for_classes =
      (info.target == TargetKind::kClass) != (config.loss == "softmax_cross_entropy");
  if (values_for_classes || (config.loss == "binary_cross_entropy" && !info.binary))
    throw ConfigError(fmt::format("loss = {} does not fit the targets of the data set; {} does",
                                  config.loss, fitting));
  return config.loss;
}

ModelSpec model_spec(const TrainConfig& config, const DatasetInfo& info) {
  return {.name = config.model,
          .layers = config.layer,
          .hidden = config.hidden,
          .activation = config.activation,
          .sample = info.sample,
          .outputs = info.target == TargetKind::kClass ? info.classes : info.targets};
}

TrainResult run_training(const TrainConfig& config, const TrainContext& context) {
  return Trainer(config, context).run();
}

}  // namespace phalanx
