// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "serve/model_config.hpp"

namespace phalanx {

/// What a policy knows of the queue of one version of a model.
struct QueueView {
  std::int64_t rows = 0;                    ///< that wait
  std::chrono::nanoseconds oldest_wait{};   ///< of the request that came first
  double rows_per_second = 0;               ///< that arrive, smoothed
  std::chrono::nanoseconds service_time{};  ///< of a batch, smoothed
  double utilisation = 1;                   ///< of the ranks, if every row were a batch of its own
  bool rank_is_idle = false;                ///< false: the batch would wait behind one that runs
};

/// What to do now: send so many rows, or, if 0, look again after `wait` (or when more arrive, or a rank becomes free).
struct BatchDecision {
  std::int64_t rows = 0;
  std::chrono::nanoseconds wait{};
};

/// Dynamic batching. A full batch goes at once, and so does the largest preferred size that is there. Behind a batch that
/// still runs nothing else is sent: waiting costs nothing there. To an idle rank a smaller batch goes when its first request
/// has waited for the delay, or when waiting would not pay: nobody else is to be expected in what is left of it, or the ranks
/// would keep up with rows one by one. The delay is max_queue_delay_us, and
/// less where it would make answers miss target_p99_ms: at most  target - 2 * service_time.
BatchDecision decide_batch(const ModelConfig& config, const QueueView& queue);

}  // namespace phalanx
