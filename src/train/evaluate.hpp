// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.hpp"
#include "data/loader.hpp"
#include "models/network.hpp"

namespace phalanx {

/// How well a network does on one split, over all ranks.
struct Evaluation {
  std::int64_t samples = 0;
  double loss = 0;                 ///< mean per sample
  double accuracy = 0;             ///< classes, binary targets: share of right answers
  double mean_absolute_error = 0;  ///< other targets: in the units of the data set
  double r2 = 0;  ///< other targets: 1 - (sum of squared errors) / (sum of squares around the mean)
  bool is_classifier = true;  ///< which of the two groups above counts
  double seconds = 0;
};

/// Runs one split through the network: each rank its share, in order, then one all_reduce of the sums.
/// Errors of real targets are in the units of the data set, whether the loader standardises them or not.
/// Called by every rank.
/// `parameter_version`: changes when parameters have (OpContext).
Evaluation evaluate(Network& network, Loader& loader, Communicator& comm, Stream& stream,
                    std::uint64_t parameter_version = 1);

/// Sums over the rows of one batch that the metrics are made of.
struct MetricSums {
  double loss = 0, correct = 0, samples = 0;
  double absolute_error = 0, squared_error = 0, target = 0, target_squared = 0, values = 0;
};

/// Adds one batch: `logits` [rows, outputs], `target` as the loss wants it, `loss` summed over the rows. `target_std` (per
/// output, or empty) scales errors of real targets.
void add_batch(MetricSums& sums, const std::string& loss_name, ConstTensorView logits,
               ConstTensorView target, float loss, std::span<const float> target_std);

/// The number of right answers of a classifier: argmax against the label, or sign of the logit against 0 / 1.
std::int64_t count_correct(const std::string& loss_name, ConstTensorView logits,
                           ConstTensorView target);

}  // namespace phalanx
