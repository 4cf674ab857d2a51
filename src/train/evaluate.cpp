// SPDX-License-Identifier: Apache-2.0
#include "train/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "data/device_feed.hpp"

namespace phalanx {

namespace {

/// Classes that the confusion matrix of a classifier has; 0: too many.
std::int64_t confused_classes(const std::string& loss_name, std::int64_t outputs) {
  if (loss_name == "binary_cross_entropy") return 2;
  return outputs <= Evaluation::kMostConfused ? outputs : 0;
}

void add_answers(MetricSums& sums, const std::string& loss_name, ConstTensorView logits,
                 ConstTensorView target) {
  const std::int64_t rows = logits.shape()[0], outputs = logits.shape()[1];
  const std::int64_t classes = confused_classes(loss_name, outputs);
  sums.confusion.resize(static_cast<std::size_t>(classes * classes), 0);
  const auto count = [&](std::int64_t label, std::int64_t answer) {
    if (classes > 0) ++sums.confusion[static_cast<std::size_t>(label * classes + answer)];
  };
  const auto* x = logits.as<float>();
  if (loss_name == "binary_cross_entropy") {
    for (std::int64_t i = 0; i < rows * outputs; ++i)
      count(target.as<float>()[i] > 0.5f ? 1 : 0, x[i] > 0.0f ? 1 : 0);
    return;
  }
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = x + n * outputs;
    const std::int64_t label = target.as<std::int64_t>()[n];
    count(label, std::max_element(row, row + outputs) - row);
    sums.top5 += std::count_if(row, row + outputs, [&](float v) { return v > row[label]; }) < 5;
  }
}

}  // namespace

void add_batch(MetricSums& sums, const std::string& loss_name, ConstTensorView logits,
               ConstTensorView target, float loss, float correct,
               std::span<const float> target_std) {
  const std::int64_t rows = logits.shape()[0], outputs = logits.shape()[1];
  sums.loss += static_cast<double>(loss);
  sums.samples += static_cast<double>(rows);
  if (loss_name != "mean_squared_error") {
    const auto per_row = loss_name == "softmax_cross_entropy" ? 1 : outputs;
    sums.correct += static_cast<double>(correct) / static_cast<double>(per_row);
    add_answers(sums, loss_name, logits, target);
    return;
  }
  for (std::int64_t i = 0; i < rows * outputs; ++i) {
    const double scale = target_std.empty() ? 1.0 : static_cast<double>(target_std[i % outputs]);
    const double t = scale * static_cast<double>(target.as<float>()[i]);
    const double error = scale * static_cast<double>(logits.as<float>()[i]) - t;
    sums.absolute_error += std::abs(error);
    sums.squared_error += error * error;
    sums.target += t;
    sums.target_squared += t * t;
    sums.values += 1;
  }
}

namespace {

/// Sums in the order of the ranks, so that every rank has the same bits. Doubles travel as 64-bit words.
void all_reduce_sums(MetricSums& sums, Communicator& comm, Stream& stream) {
  const std::array<double*, 9> members{&sums.loss,    &sums.correct,        &sums.top5,
                                       &sums.samples, &sums.absolute_error, &sums.squared_error,
                                       &sums.target,  &sums.target_squared, &sums.values};
  std::array<double, 9> mine{};
  for (std::size_t i = 0; i < members.size(); ++i) mine[i] = *members[i];
  std::vector<double> all(members.size() * static_cast<std::size_t>(comm.size()));
  constexpr std::int64_t kMembers = mine.size();
  comm.all_gather({mine.data(), {DType::kI64, Shape{kMembers}}},
                  {all.data(), {DType::kI64, Shape{comm.size(), kMembers}}}, stream);
  for (std::size_t i = 0; i < members.size(); ++i) {
    *members[i] = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(comm.size()); ++r)
      *members[i] += all[members.size() * r + i];
  }
  const auto cells = static_cast<std::int64_t>(sums.confusion.size());
  comm.all_reduce({sums.confusion.data(), {DType::kI64, Shape{cells}}}, ReduceOp::kSum, stream);
}

}  // namespace

double f1_score(std::span<const std::int64_t> confusion, std::int64_t classes) {
  double sum = 0;
  std::int64_t occurring = 0;
  for (std::int64_t c = classes == 2 ? 1 : 0; c < classes; ++c) {
    std::int64_t of_label = 0, of_answer = 0;
    for (std::int64_t k = 0; k < classes; ++k) {
      of_label += confusion[static_cast<std::size_t>(c * classes + k)];
      of_answer += confusion[static_cast<std::size_t>(k * classes + c)];
    }
    if (of_label + of_answer == 0) continue;
    ++occurring;
    sum += 2.0 * static_cast<double>(confusion[static_cast<std::size_t>(c * classes + c)]) /
           static_cast<double>(of_label + of_answer);
  }
  return occurring > 0 ? sum / static_cast<double>(occurring) : 0;
}

std::vector<Metric> metrics_of(const Evaluation& e) {
  std::vector<Metric> all{{"loss", e.loss}};
  if (!e.is_classifier) {
    all.insert(all.end(), {{"mean_absolute_error", e.mean_absolute_error}, {"r2", e.r2}});
    return all;
  }
  all.emplace_back("accuracy", e.accuracy);
  if (e.classes > 0) all.emplace_back("f1", e.f1);
  if (e.top5_accuracy > 0) all.emplace_back("top5_accuracy", e.top5_accuracy);
  if (e.perplexity > 0) all.emplace_back("perplexity", e.perplexity);
  return all;
}

double metric_of(const Evaluation& e, std::string_view name) {
  std::string known;
  for (const auto& [metric, value] : metrics_of(e)) {
    if (metric == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(metric);
  }
  throw ConfigError(fmt::format("best-metric: this task has {}; found '{}'", known, name));
}

bool is_better_when_higher(std::string_view metric) noexcept {
  return metric != "loss" && metric != "mean_absolute_error" && metric != "perplexity";
}

Evaluation evaluate(Network& network, Loader& loader, Communicator& comm, Stream& stream,
                    std::uint64_t parameter_version) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string& loss_name = network.options().loss;
  const std::vector<float> target_std =
      loader.transform().changes_targets() ? loader.target_std() : std::vector<float>{};
  const bool by_column = !network.cut_weight().empty(),
             is_classifier = loss_name != "mean_squared_error";
  MetricSums sums;
  HostTensor space;
  const std::int64_t outputs = network.options().model.outputs;
  // Ranks without samples take part in the sums.
  const std::int64_t classes = is_classifier ? confused_classes(loss_name, outputs) : 0;
  sums.confusion.assign(static_cast<std::size_t>(classes * classes), 0);
  loader.begin(0, 0, 1);
  DeviceFeed feed(loader, stream);
  const std::int64_t batches =
      loader.sampler().steps_per_epoch() * loader.sampler().options().micro_batches;
  for (std::int64_t b = 0; b < batches; ++b) {
    const Batch& batch = feed.next();
    if (batch.slice.is_empty()) continue;
    Executor& executor = network.evaluation(batch.x.shape()[0]);
    executor.feed("x", batch.x);
    executor.feed("target", batch.y);
    RunOptions run{.parameter_version = parameter_version};
    if (by_column)
      run.collective = [&](TensorView sum) { comm.all_reduce(sum, ReduceOp::kSum, stream); };
    executor.run(run);
    const ConstTensorView logits = on_host(executor.output("logits"), space, stream);
    const float loss = values_of<float>(executor.output("loss"), stream).front();
    const float correct =
        is_classifier ? values_of<float>(executor.output("correct"), stream).front() : 0;
    add_batch(sums, loss_name, logits, feed.on_host().y, loss, correct, target_std);
  }
  loader.end();
  Stream host{Device{}};
  if (!by_column) all_reduce_sums(sums, comm, host);  // by column, every rank has seen every row
  Evaluation e;
  e.is_classifier = is_classifier;
  e.samples = static_cast<std::int64_t>(sums.samples);
  const double n = std::max(sums.samples, 1.0), values = std::max(sums.values, 1.0);
  e.loss = sums.loss / n;
  e.accuracy = sums.correct / n;
  e.classes = classes;
  e.f1 = f1_score(sums.confusion, classes);
  e.confusion = std::move(sums.confusion);
  if (loss_name == "softmax_cross_entropy") {
    e.perplexity = std::exp(e.loss);
    if (outputs > 5) e.top5_accuracy = sums.top5 / n;
  }
  e.mean_absolute_error = sums.absolute_error / values;
  const double spread = sums.target_squared - sums.target * sums.target / values;
  e.r2 = spread > 0 ? 1 - sums.squared_error / spread : 0;
  e.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return e;
}

}  // namespace phalanx
