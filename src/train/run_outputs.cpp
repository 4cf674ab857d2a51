// SPDX-License-Identifier: Apache-2.0
#include "train/run_outputs.hpp"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <vector>

#include "core/error.hpp"
#include "core/log.hpp"
#include "formats/atomic_file.hpp"
#include "train/plot.hpp"

namespace phalanx {

RunOutputs::RunOutputs(std::string folder, bool is_writer, std::optional<std::int64_t> resume_step,
                       const ProgressBar::Options& progress, const RunProgress& first,
                       double now_seconds)
    : folder_(std::move(folder)), is_writer_(is_writer) {
  if (!is_writer_) return;
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error)
    throw IoError(fmt::format("cannot create the output folder {}: {}", folder_, error.message()));
  log_ = std::make_unique<MetricsLog>(metrics_path(folder_), resume_step);
  tensorboard_ = std::make_unique<TensorBoardWriter>(
      folder_ + "/tensorboard", resume_step ? std::optional(*resume_step + 1) : std::nullopt);
  bar_ = std::make_unique<ProgressBar>(std::cerr, progress, first, now_seconds);
}

void RunOutputs::metrics(std::int64_t step, double epoch, std::string_view split,
                         std::span<const Metric> values) {
  if (!is_writer_) return;
  log_->write(step, epoch, split, values);
  std::vector<std::string> tags;
  for (const auto& [name, value] : values) tags.push_back(fmt::format("{}/{}", name, split));
  std::vector<std::pair<std::string_view, double>> scalars;
  for (std::size_t i = 0; i < tags.size(); ++i) scalars.emplace_back(tags[i], values[i].second);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  tensorboard_->write(step, std::chrono::duration<double>(now).count(), scalars);
}

void RunOutputs::progress(const RunProgress& progress, double now_seconds) {
  if (is_writer_) bar_->update(progress, now_seconds);
}

void RunOutputs::note(std::string_view line) {
  if (is_writer_) bar_->note(line);
}

void RunOutputs::finish(double now_seconds) {
  if (!is_writer_) return;
  bar_->finish(now_seconds);
  const std::vector<MetricsLine> lines = read_metrics(metrics_path(folder_));
  const std::vector<PlotPanel> panels = training_panels(lines);
  write_file_atomically(plot_path(folder_), plot_svg(folder_, panels));
}

}  // namespace phalanx
