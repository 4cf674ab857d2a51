// SPDX-License-Identifier: Apache-2.0
#include "serve/batch_policy.hpp"

#include <algorithm>

namespace phalanx {

using std::chrono::nanoseconds;

namespace {

nanoseconds longest_delay(const ModelConfig& config, const QueueView& queue) {
  if (config.target_p99_ms == 0) return queue.longest_delay;
  const nanoseconds left =
      nanoseconds(std::chrono::milliseconds(config.target_p99_ms)) - 2 * queue.service_time;
  return std::clamp(left, nanoseconds::zero(), queue.longest_delay);
}

}  // namespace

BatchDecision decide_batch(const ModelConfig& config, const QueueView& queue) {
  if (queue.rows == 0) return {};
  if (queue.rows >= config.max_batch_size) return {config.max_batch_size, {}};
  const auto& preferred = config.preferred_batch_sizes;
  const auto above = std::ranges::upper_bound(preferred, queue.rows);
  if (above != preferred.begin()) return {*std::prev(above), {}};
  const nanoseconds delay = longest_delay(config, queue);
  if (queue.idle_ranks == 0) return {0, delay};
  const nanoseconds left = delay - queue.oldest_wait;
  // Clients whose answers come in time may ask again.
  const std::int64_t busy = queue.rows + (queue.next_free < left ? 0 : queue.running_rows);
  const double expected =
      std::min(queue.rows_per_second * std::chrono::duration<double>(left).count(),
               static_cast<double>(queue.most_in_flight - busy));
  if (left > nanoseconds::zero() && expected >= 1 && queue.utilisation >= 1) return {0, left};
  const bool shares = 5 * queue.share_time <= 4 * queue.service_time;
  const std::int64_t ranks = shares ? queue.idle_ranks : 1;
  return {(queue.rows + ranks - 1) / ranks, {}, ranks};
}

DelayControl::DelayControl(const ModelConfig& config)
    : configured_(std::chrono::microseconds(config.max_queue_delay_us)),
      target_(std::chrono::milliseconds(config.target_p99_ms)),
      longest_(configured_) {}

void DelayControl::answered(nanoseconds latency) {
  if (target_ == nanoseconds::zero()) return;
  constexpr int kWindow = 128;
  if (latency > target_) ++late_;
  if (++answers_ < kWindow) return;
  longest_ =
      100 * late_ > kWindow ? longest_ / 2 : std::min(longest_ + configured_ / 16, configured_);
  answers_ = late_ = 0;
}

}  // namespace phalanx
