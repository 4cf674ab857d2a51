// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "serve/model_config.hpp"

namespace phalanx {

/// What a policy knows of the queue of one version of a model.
struct QueueView {
  std::int64_t rows = 0;                        ///< that wait
  std::chrono::nanoseconds oldest_wait{};       ///< of the request that came first
  double rows_per_second = 0;                   ///< that arrive, smoothed
  std::int64_t running_rows = 0;                ///< in batches that were sent
  std::chrono::nanoseconds next_free{};         ///< until the first of these batches should end
  std::int64_t most_in_flight = 1'000'000'000;  ///< rows that waited or ran at once, of late
  std::chrono::nanoseconds longest_delay{};     ///< of DelayControl
  std::chrono::nanoseconds service_time{};      ///< of a batch of all that waits, smoothed
  std::chrono::nanoseconds share_time{};        ///< of an equal share for each idle rank, smoothed
  double utilisation = 1;       ///< of the ranks, if every row were a batch of its own
  std::int64_t idle_ranks = 0;  ///< 0: the batch would wait behind one that runs
};

/// What to do now: send so many rows, or, if 0, look again after `wait` (or when more arrive, or a rank becomes free).
struct BatchDecision {
  std::int64_t rows = 0;
  std::chrono::nanoseconds wait{};
  std::int64_t batches = 1;  ///< of so many rows, the last maybe of fewer, each to an idle rank
};

/// Dynamic batching. A full batch goes at once, and so does the largest preferred size that is there. Behind a batch that
/// still runs nothing else is sent: waiting costs nothing there. To an idle rank a smaller batch goes when its first request
/// has waited for the delay, or when waiting would not pay: nobody else is to be expected in what is left of it, or the ranks
/// would keep up with rows one by one. No more are expected than the rate of arrivals says, nor than there were at once of
/// late, without those that wait and those that will still run then. What waits is shared out evenly among all idle ranks if
/// that saves a fifth of the time; all shares go at once, since the rows of the first would have the others wait for them. The
/// delay is that of DelayControl, and less where it would make answers miss target_p99_ms: at most  target - 2 * service_time.
BatchDecision decide_batch(const ModelConfig& config, const QueueView& queue);

/// How long a request may wait for others, so that the p99 of a model's answers keeps to target_p99_ms: max_queue_delay_us, but
/// halved after every 128 answers of which more than one in a hundred came later than the target, and a sixteenth of
/// max_queue_delay_us more after every 128 others.
class DelayControl {
 public:
  explicit DelayControl(const ModelConfig& config);

  void answered(std::chrono::nanoseconds latency);
  std::chrono::nanoseconds longest() const noexcept { return longest_; }

 private:
  std::chrono::nanoseconds configured_, target_, longest_;
  int answers_ = 0, late_ = 0;
};

}  // namespace phalanx
