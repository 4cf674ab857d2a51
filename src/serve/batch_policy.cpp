// SPDX-License-Identifier: Apache-2.0
#include "serve/batch_policy.hpp"

#include <algorithm>

namespace phalanx {

using std::chrono::nanoseconds;

namespace {

nanoseconds longest_delay(const ModelConfig& config, const QueueView& queue) {
  const nanoseconds configured = std::chrono::microseconds(config.max_queue_delay_us);
  if (config.target_p99_ms == 0) return configured;
  const nanoseconds left =
      nanoseconds(std::chrono::milliseconds(config.target_p99_ms)) - 2 * queue.service_time;
  return std::clamp(left, nanoseconds::zero(), configured);
}

}  // namespace

BatchDecision decide_batch(const ModelConfig& config, const QueueView& queue) {
  if (queue.rows == 0) return {};
  if (queue.rows >= config.max_batch_size) return {config.max_batch_size, {}};
  const auto& preferred = config.preferred_batch_sizes;
  const auto above = std::ranges::upper_bound(preferred, queue.rows);
  if (above != preferred.begin()) return {*std::prev(above), {}};
  const nanoseconds delay = longest_delay(config, queue);
  if (!queue.rank_is_idle) return {0, delay};
  const nanoseconds left = delay - queue.oldest_wait;
  const double expected = queue.rows_per_second * std::chrono::duration<double>(left).count();
  if (left <= nanoseconds::zero() || expected < 1 || queue.utilisation < 1) return {queue.rows, {}};
  return {0, left};
}

}  // namespace phalanx
