// SPDX-License-Identifier: Apache-2.0
#include "train/evaluate.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

namespace phalanx {

std::int64_t count_correct(const std::string& loss_name, ConstTensorView logits,
                           ConstTensorView target) {
  const std::int64_t rows = logits.shape()[0], outputs = logits.shape()[1];
  const auto* x = logits.as<float>();
  std::int64_t correct = 0;
  if (loss_name == "softmax_cross_entropy") {
    for (std::int64_t n = 0; n < rows; ++n)
      correct += std::max_element(x + n * outputs, x + (n + 1) * outputs) - (x + n * outputs) ==
                 target.as<std::int64_t>()[n];
  } else {
    for (std::int64_t i = 0; i < rows * outputs; ++i)
      correct += (x[i] > 0.0f) == (target.as<float>()[i] > 0.5f);
  }
  return correct;
}

void add_batch(MetricSums& sums, const std::string& loss_name, ConstTensorView logits,
               ConstTensorView target, float loss, std::span<const float> target_std) {
  const std::int64_t rows = logits.shape()[0], outputs = logits.shape()[1];
  sums.loss += static_cast<double>(loss);
  sums.samples += static_cast<double>(rows);
  if (loss_name != "mean_squared_error") {
    const auto per_row = loss_name == "softmax_cross_entropy" ? 1 : outputs;
    sums.correct += static_cast<double>(count_correct(loss_name, logits, target)) /
                    static_cast<double>(per_row);
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
  const std::array<double*, 8> members{&sums.loss,           &sums.correct,       &sums.samples,
                                       &sums.absolute_error, &sums.squared_error, &sums.target,
                                       &sums.target_squared, &sums.values};
  std::array<double, 8> mine{};
  for (std::size_t i = 0; i < members.size(); ++i) mine[i] = *members[i];
  std::vector<double> all(members.size() * static_cast<std::size_t>(comm.size()));
  comm.all_gather({mine.data(), {DType::kI64, Shape{8}}},
                  {all.data(), {DType::kI64, Shape{comm.size(), 8}}}, stream);
  for (std::size_t i = 0; i < members.size(); ++i) {
    *members[i] = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(comm.size()); ++r)
      *members[i] += all[8 * r + i];
  }
}

}  // namespace

Evaluation evaluate(Network& network, Loader& loader, Communicator& comm, Stream& stream,
                    std::uint64_t parameter_version) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string& loss_name = network.options().loss;
  const std::vector<float> target_std =
      loader.transform().changes_targets() ? loader.target_std() : std::vector<float>{};
  const bool by_column = !network.cut_weight().empty();
  MetricSums sums;
  loader.begin(0, 0, 1);
  const std::int64_t batches =
      loader.sampler().steps_per_epoch() * loader.sampler().options().micro_batches;
  for (std::int64_t b = 0; b < batches; ++b) {
    const Batch& batch = loader.next();
    if (batch.slice.is_empty()) continue;
    Executor& executor = network.evaluation(batch.x.shape()[0]);
    executor.feed("x", batch.x);
    executor.feed("target", batch.y);
    RunOptions run{.parameter_version = parameter_version};
    if (by_column)
      run.collective = [&](TensorView sum) { comm.all_reduce(sum, ReduceOp::kSum, stream); };
    executor.run(run);
    add_batch(sums, loss_name, executor.output("logits"), batch.y,
              *executor.output("loss").as<float>(), target_std);
  }
  loader.end();
  if (!by_column) all_reduce_sums(sums, comm, stream);  // by column, every rank has seen every row
  Evaluation e;
  e.is_classifier = loss_name != "mean_squared_error";
  e.samples = static_cast<std::int64_t>(sums.samples);
  const double n = std::max(sums.samples, 1.0), values = std::max(sums.values, 1.0);
  e.loss = sums.loss / n;
  e.accuracy = sums.correct / n;
  e.mean_absolute_error = sums.absolute_error / values;
  const double spread = sums.target_squared - sums.target * sums.target / values;
  e.r2 = spread > 0 ? 1 - sums.squared_error / spread : 0;
  e.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return e;
}

}  // namespace phalanx
