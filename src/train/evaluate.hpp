// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "data/loader.hpp"
#include "models/network.hpp"
#include "train/metrics_log.hpp"

namespace phalanx {

/// How well a network does on one split, over all ranks.
struct Evaluation {
  std::int64_t samples = 0;
  double loss = 0;      ///< mean per sample
  double accuracy = 0;  ///< classes, binary targets: share of right answers
  double f1 =
      0;  ///< the same: of the positive class, or the mean over classes that occur (see f1_score)
  double top5_accuracy =
      0;  ///< more than five classes: share of samples whose class is among the five best
  double perplexity = 0;  ///< classes: exp(loss)
  /// Classes, up to kMostConfused: samples of class `row` that were taken for class `column`; binary targets: 0 and 1.
  std::vector<std::int64_t> confusion;
  std::int64_t classes = 0;        ///< rows of the confusion matrix; 0: there is none
  double mean_absolute_error = 0;  ///< other targets: in the units of the data set
  double r2 = 0;  ///< other targets: 1 - (sum of squared errors) / (sum of squares around the mean)
  bool is_classifier = true;  ///< which of the two groups above counts
  double seconds = 0;

  static constexpr std::int64_t kMostConfused = 1024;
};

/// The values that fit the task, by the names of metrics.jsonl; the loss comes first.
std::vector<Metric> metrics_of(const Evaluation& evaluation);
/// Throws    ConfigError listing those of metrics_of if `name` is none of them.
double metric_of(const Evaluation& evaluation, std::string_view name);
/// Whether more is better: not so for losses, errors and perplexity.
bool is_better_when_higher(std::string_view metric) noexcept;

/// From a confusion matrix: 2 TP / (2 TP + FP + FN), of class 1 if there are two, else the mean over all classes that occur
/// as label or as answer (scikit-learn's f1_score, "binary" and "macro").
double f1_score(std::span<const std::int64_t> confusion, std::int64_t classes);

/// Runs one split through the network: each rank its share, in order, then one all_reduce of the sums.
/// Errors of real targets are in the units of the data set, whether the loader standardises them or not.
/// Called by every rank.
/// `parameter_version`: changes when parameters have (OpContext).
Evaluation evaluate(Network& network, Loader& loader, Communicator& comm, Stream& stream,
                    std::uint64_t parameter_version = 1);

/// Sums over the rows of one batch that the metrics are made of.
struct MetricSums {
  double loss = 0, correct = 0, top5 = 0, samples = 0;
  double absolute_error = 0, squared_error = 0, target = 0, target_squared = 0, values = 0;
  std::vector<std::int64_t>
      confusion;  ///< [classes, classes]; empty until the first batch of a classifier
};

/// Adds one batch: `logits` [rows, outputs], `target` as the loss wants it, `loss` summed over the rows, and what the operator
/// `count_correct` says of a classifier. `target_std` (per output, or empty) scales errors of real targets.
void add_batch(MetricSums& sums, const std::string& loss_name, ConstTensorView logits,
               ConstTensorView target, float loss, float correct,
               std::span<const float> target_std);

}  // namespace phalanx
