// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "device/device_graph.hpp"
#include "train/config.hpp"

namespace phalanx {

/// All that may differ between two steps and is an address or a decision of the host within a graph.
struct StepKey {
  const void *x = nullptr, *y = nullptr;  // of the batch
  std::int64_t rows = 0;
  std::size_t arena_bytes = 0;  // of activations: the arena moves only when it grows
  std::int64_t buckets = 0;     // in which gradients are summed
  bool wants_norm = false;
  friend auto operator<=>(const StepKey&, const StepKey&) = default;
};

/// The captured steps of a run. A step of a new kind runs as it is, since the first one may plan, measure and allocate; the
/// second is captured, and those after it are launched. A feed has two places for batches, so that there are two graphs
/// for most steps, and others where steps differ: the last batch of an epoch, a step whose norm is wanted.
class StepGraphs {
 public:
  static constexpr std::size_t kMost =
      16;  ///< kinds; then those not seen for longest are forgotten

  StepGraphs(Communicator& comm, Stream& stream) : comm_(comm), stream_(stream) {}

  /// Enqueues a step. True: as it was captured earlier, and `enqueue` was not called.
  /// Throws    DeviceError if it cannot be captured; CommError.
  bool run(const StepKey& key, const std::function<void()>& enqueue);

  struct Use {
    std::int64_t graphs = 0;    ///< captured so far
    std::int64_t launches = 0;  ///< of steps that had been captured before
  };
  const Use& use() const noexcept { return use_; }

 private:
  struct Kind {
    StepKey key;
    std::shared_ptr<DeviceGraph> graph;  // null: seen once
  };

  std::shared_ptr<DeviceGraph> capture(const std::function<void()>& enqueue);

  Communicator& comm_;
  Stream& stream_;
  std::list<Kind> kinds_;  // seen last first
  Use use_;
};

/// Why steps of such a run cannot be captured; empty if they can.
std::string why_not_captured(const TrainConfig& config, const Communicator& comm, Device device);

}  // namespace phalanx
