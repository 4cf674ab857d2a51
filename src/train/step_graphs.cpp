// SPDX-License-Identifier: Apache-2.0
#include "train/step_graphs.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"

namespace phalanx {

bool StepGraphs::run(const StepKey& key, const std::function<void()>& enqueue) {
  const auto found = std::ranges::find(kinds_, key, &Kind::key);
  if (found == kinds_.end()) {
    kinds_.push_front({key, nullptr});
    if (kinds_.size() > kMost) kinds_.pop_back();
    enqueue();
    return false;
  }
  kinds_.splice(kinds_.begin(), kinds_, found);
  std::shared_ptr<DeviceGraph>& graph = found->graph;
  const bool is_known = graph != nullptr;
  if (!is_known) {
    graph = capture(enqueue);
    ++use_.graphs;
  }
  comm_.launch(graph, stream_);
  if (is_known) ++use_.launches;
  return is_known;
}

std::shared_ptr<DeviceGraph> StepGraphs::capture(const std::function<void()>& enqueue) {
  try {
    return std::make_shared<DeviceGraph>(stream_, enqueue);
  } catch (const DeviceError& e) {
    throw DeviceError(fmt::format(
        "{}; this step was being captured, which cuda-graph = false leaves out", e.what()));
  }
}

std::string why_not_captured(const TrainConfig& config, const Communicator& comm, Device device) {
  if (device.backend == nullptr) return "this run computes on the CPU";
  if (config.reproducible) return "with reproducible = true the host takes part in every step";
  if (config.accumulate > 1)
    return "with accumulate > 1 a step waits for its next micro-batch while it runs";
  if (!comm.can_be_captured()) return "sums over ranks go through host memory";
  return {};
}

}  // namespace phalanx
