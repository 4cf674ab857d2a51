// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model.hpp"

namespace phalanx {

/// What stands beside the arrays of a checkpoint, as JSON: enough to rebuild the network, to feed it as it was fed, to read
/// its answers, and to go on training.
struct RunRecord {
  // the network
  ModelSpec model;
  std::string loss;
  std::string precision = "f32";

  // the data it was trained on
  bool is_image = false;
  bool normalise = true;           ///< inputs are (v - mean) / std
  bool normalise_targets = false;  ///< targets were (t - target_mean) / target_std
  std::vector<float> mean, std, target_mean, target_std;
  std::vector<std::string> class_names, feature_names, target_names;
  std::string data_sha256;

  // where the run stands
  std::int64_t step = 0;           ///< optimizer steps done
  std::int64_t epoch = 0;          ///< epoch of the next step
  std::int64_t step_in_epoch = 0;  ///< the next step
  double seconds = 0;              ///< trained so far
  std::string best_metric;         ///< see metrics_of
  bool has_best = false;
  double best_value = 0;
  std::int64_t evaluations_since_best = 0;
  bool evaluation_due = false;  ///< at this step, but the run was asked to stop
  double epoch_loss_sum = 0;    ///< of the unfinished epoch, over all ranks
  std::int64_t epoch_samples = 0;
  std::vector<double>
      recent_losses;  ///< of the last steps, oldest first, where outliers are looked for

  std::string config;  ///< the effective configuration, as `--dump-config` prints it
};

std::string to_json(const RunRecord& record);

/// Throws    InvalidInput naming `source` and the member that is missing or of another type.
RunRecord run_record_from_json(const std::string& text, const std::string& source);

}  // namespace phalanx
