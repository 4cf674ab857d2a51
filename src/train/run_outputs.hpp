// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "train/metrics_log.hpp"
#include "train/progress_bar.hpp"
#include "train/tensorboard.hpp"

namespace phalanx {

/// Everything that a run shows and writes down while it goes on, on rank 0; on other ranks nothing happens:
/// metrics.jsonl, TensorBoard events and curves.svg in the output folder, progress on stderr.
class RunOutputs {
 public:
  /// `resume_step`: drop what was written about later steps.
  RunOutputs(std::string folder, bool is_writer, std::optional<std::int64_t> resume_step,
             const ProgressBar::Options& progress, const RunProgress& first, double now_seconds);

  void metrics(std::int64_t step, double epoch, std::string_view split,
               std::span<const Metric> values);
  void progress(const RunProgress& progress, double now_seconds);
  void note(std::string_view line);  ///< a line for people
  /// Ends the progress line and draws curves.svg from metrics.jsonl.
  void finish(double now_seconds);

  static std::string metrics_path(const std::string& folder) { return folder + "/metrics.jsonl"; }
  static std::string plot_path(const std::string& folder) { return folder + "/curves.svg"; }

 private:
  std::string folder_;
  bool is_writer_;
  std::unique_ptr<MetricsLog> log_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
  std::unique_ptr<ProgressBar> bar_;
};

}  // namespace phalanx
