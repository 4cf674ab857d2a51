// SPDX-License-Identifier: Apache-2.0
#include "serve/dispatcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace phalanx {

using std::chrono::nanoseconds;

namespace {

// One batch runs, one waits behind it: so a rank never waits for the front end.
constexpr int kMostOutstanding = 2;
constexpr double kSmoothing = 0.2;  // share of the newest observation
constexpr double kRateSeconds = 0.05,
                 kCrowdSeconds = 1;  // how long arrivals, and a crowd, are remembered

/// Requests of one batch do not answer for each other.
bool is_finite(const Inference& i, std::size_t row_outputs) {
  const auto* values = reinterpret_cast<const float*>(i.output->data());
  return std::all_of(values, values + static_cast<std::size_t>(i.rows) * row_outputs,
                     [](float v) { return std::isfinite(v); });
}

/// Whoever waits for a request holds it, and it holds them by `finished`. Where the end comes before the answer that is undone.
void let_go(const InferencePtr& request) { request->finished = nullptr; }

/// What one batch answers.
struct SentRequests {
  std::vector<InferencePtr> all;
  SentRequests() = default;
  SentRequests(const SentRequests&) = delete;
  SentRequests& operator=(const SentRequests&) = delete;
  ~SentRequests() { std::ranges::for_each(all, let_go); }
};

std::uint64_t count_ns(ServeClock::duration d) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<nanoseconds>(d).count());
}

}  // namespace

std::size_t ModelQueue::waiting_requests() const noexcept {
  std::size_t count = 0;
  for (const auto& [priority, requests] : by_priority_) count += requests.size();
  return count;
}

Dispatcher::Dispatcher(net::io_context& io, RankGroup& group) : group_(group), timer_(io) {}

Dispatcher::~Dispatcher() {
  for (const auto& queue : queues_) {
    const auto waiting = std::exchange(queue->by_priority_, {});
    for (const auto& [priority, requests] : waiting) std::ranges::for_each(requests, let_go);
  }
}

void Dispatcher::add(const std::shared_ptr<ModelQueue>& queue) {
  if (std::ranges::find(queues_, queue) == queues_.end()) queues_.push_back(queue);
}

void Dispatcher::submit(const std::shared_ptr<ModelQueue>& queue, InferencePtr request) {
  if (!group_.is_up()) throw Refusal(503, "the ranks are being started", 1);
  // While a body arrived its model may have gone with its ranks, and not be loaded again yet.
  if (std::ranges::find(queues_, queue) == queues_.end())
    throw Refusal(503, "the model is not loaded now", 1);
  if (queue->rows_ + request->rows > queue->config_.max_queue_rows)
    throw Refusal(503,
                  fmt::format("{} rows wait already, at most {} may", queue->rows_,
                              queue->config_.max_queue_rows),
                  1);
  const auto now = ServeClock::now();
  const double gap = std::chrono::duration<double>(now - queue->last_arrival_).count();
  const double rate = static_cast<double>(request->rows) / std::max(gap, 1e-6);
  // Arrivals come in bursts: what counts is rows over time, so a gap weighs by its length.
  const double weight = 1 - std::exp(-gap / kRateSeconds);
  queue->rows_per_second_ += weight * (rate - queue->rows_per_second_);
  queue->last_arrival_ = now;
  request->arrived = now;
  queue->rows_ += request->rows;
  queue->most_in_flight_ = std::max(queue->most_in_flight_ * std::exp(-gap / kCrowdSeconds),
                                    static_cast<double>(queue->rows_ + queue->running_rows_));
  queue->earliest_deadline_ = std::min(queue->earliest_deadline_, request->deadline);
  queue->by_priority_[request->priority].push_back(std::move(request));
  pump();
}

void Dispatcher::cancel(const InferencePtr& request) {
  request->is_cancelled = true;
  for (const auto& queue : queues_) {
    const auto level = queue->by_priority_.find(request->priority);
    if (level == queue->by_priority_.end() || std::erase(level->second, request) == 0) continue;
    queue->rows_ -= request->rows;
    if (level->second.empty()) queue->by_priority_.erase(level);
    break;
  }
  request->finish(kClientGone);
}

void Dispatcher::remove(const std::shared_ptr<ModelQueue>& queue) {
  std::erase(queues_, queue);
  auto waiting = std::exchange(queue->by_priority_, {});
  queue->rows_ = 0;
  for (auto& [priority, requests] : waiting)
    for (const InferencePtr& r : requests) r->finish(503, "the model is not served any more");
}

void Dispatcher::refuse_all(const std::string& why) {
  ranks_.clear();
  const auto queues = std::exchange(queues_, {});
  for (const auto& queue : queues) {
    auto waiting = std::exchange(queue->by_priority_, {});
    queue->rows_ = 0;
    for (auto& [priority, requests] : waiting)
      for (const InferencePtr& r : requests) r->finish(503, why, 1);
  }
}

void Dispatcher::drop_dead(ModelQueue& queue, ServeClock::time_point now) {
  if (now < queue.earliest_deadline_) return;
  queue.earliest_deadline_ = ServeClock::time_point::max();
  std::vector<InferencePtr> late;
  for (auto& [priority, requests] : queue.by_priority_)
    std::erase_if(requests, [&](const InferencePtr& r) {
      if (now < r->deadline) {
        queue.earliest_deadline_ = std::min(queue.earliest_deadline_, r->deadline);
        return false;
      }
      queue.rows_ -= r->rows;
      late.push_back(r);
      return true;
    });
  std::erase_if(queue.by_priority_, [](const auto& level) { return level.second.empty(); });
  for (const InferencePtr& r : late) r->finish(503, "the request waited until its deadline", 1);
}

int Dispatcher::choose_rank(ServeClock::time_point now, std::int64_t& idle_ranks) {
  const auto& ranks = group_.ranks();
  ranks_.resize(ranks.size());
  int best = -1;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i].outstanding >= kMostOutstanding) continue;
    if (ranks[i].outstanding == 0) {
      ranks_[i].free_at = now;
      ++idle_ranks;
    }
    const auto b = static_cast<std::size_t>(best);
    const bool is_better =
        best < 0 || ranks[i].outstanding < ranks[b].outstanding ||
        (ranks[i].outstanding == ranks[b].outstanding && ranks_[i].free_at < ranks_[b].free_at);
    if (is_better) best = static_cast<int>(i);
  }
  return best;
}

void Dispatcher::pump() {
  const auto now = ServeClock::now();
  nanoseconds wait = nanoseconds::max();
  while (group_.is_up() && dispatch_one(now, wait)) {
  }
  if (wait == nanoseconds::max() || now + wait >= next_look_) return;
  next_look_ = now + wait;
  timer_.expires_at(next_look_);
  timer_.async_wait([this](auto error) {
    if (error) return;
    next_look_ = ServeClock::time_point::max();
    pump();
  });
}

/// True if something was sent. Else `wait` says when to look again.
bool Dispatcher::dispatch_one(ServeClock::time_point now, nanoseconds& wait) {
  std::int64_t idle_ranks = 0;
  int rank = choose_rank(now, idle_ranks);
  std::shared_ptr<ModelQueue> first;
  BatchDecision chosen;
  std::int64_t ready = 0;  // queues that would send
  ServeClock::time_point oldest_of_all = ServeClock::time_point::max();
  for (const auto& queue : queues_) {
    drop_dead(*queue, now);
    if (queue->rows_ == 0) continue;
    auto oldest = ServeClock::time_point::max();
    for (const auto& [priority, requests] : queue->by_priority_)
      oldest = std::min(oldest, requests.front()->arrived);
    wait = std::min(wait,
                    nanoseconds(queue->earliest_deadline_ - now) + std::chrono::microseconds(100));
    if (rank < 0) continue;
    const std::int64_t share =
        (queue->rows_ + idle_ranks - 1) / std::max<std::int64_t>(idle_ranks, 1);
    const BatchDecision decision = decide_batch(
        queue->config_,
        {.rows = queue->rows_,
         .oldest_wait = now - oldest,
         .rows_per_second = queue->rows_per_second_,
         .running_rows = queue->running_rows_,
         .next_free = queue->ends_.empty() ? nanoseconds::max() : *queue->ends_.begin() - now,
         .most_in_flight = std::lround(queue->most_in_flight_),
         .longest_delay = queue->delay_.longest(),
         .service_time = service_time(*queue, queue->rows_),
         .share_time = service_time(*queue, share),
         .utilisation = utilisation(*queue),
         .idle_ranks = idle_ranks});
    if (decision.rows == 0 && idle_ranks > 0) wait = std::min(wait, decision.wait);
    if (decision.rows == 0) continue;
    ++ready;
    if (oldest >= oldest_of_all) continue;
    first = queue;
    chosen = decision;
    oldest_of_all = oldest;
  }
  if (!first) return false;
  send(*first, first, rank, chosen.rows, now);
  // The others have their turn behind it.
  for (std::int64_t more = chosen.batches - ready; more > 0 && first->rows_ > 0; --more) {
    rank = choose_rank(now, idle_ranks);
    send(*first, first, rank, chosen.rows, now);
  }
  return true;
}

void Dispatcher::send(ModelQueue& queue, const std::shared_ptr<ModelQueue>& keep, int rank,
                      std::int64_t most_rows, ServeClock::time_point now) {
  const auto sent = std::make_shared<SentRequests>();
  std::vector<InferencePtr>& batch = sent->all;
  std::vector<RankGroup::Part> parts;
  std::int64_t rows = 0;
  // The first request goes even if it is larger than what the policy asked for.
  for (auto level = queue.by_priority_.begin(); level != queue.by_priority_.end();) {
    std::deque<InferencePtr>& requests = level->second;
    while (!requests.empty()) {
      const InferencePtr& r = requests.front();
      if (!batch.empty() && rows + r->rows > most_rows) break;
      rows += r->rows;
      r->queue_ns = count_ns(now - r->arrived);
      parts.push_back({.input = r->input, .output = r->output, .rows = r->rows, .is_u8 = r->is_u8});
      batch.push_back(r);
      requests.pop_front();
    }
    if (!requests.empty()) break;
    level = queue.by_priority_.erase(level);
  }
  if (batch.empty()) return;
  queue.rows_ -= rows;
  queue.running_rows_ += rows;
  auto& free_at = ranks_[static_cast<std::size_t>(rank)].free_at;
  free_at = std::max(free_at, now) + service_time(queue, rows);
  const auto end = queue.ends_.insert(free_at);
  group_.run(rank, queue.handle_, std::move(parts),
             [this, keep, end, sent, rows](const BatchResult& result) {
               keep->ends_.erase(end);
               answered(*keep, sent->all, rows, result);
             });
}

void Dispatcher::answered(ModelQueue& queue, const std::vector<InferencePtr>& batch,
                          std::int64_t rows, const BatchResult& result) {
  queue.running_rows_ -= rows;
  if (!result.is_lost && result.error.empty()) {
    const nanoseconds took(result.input_ns + result.infer_ns + result.output_ns);
    auto& known = queue.service_times_[std::bit_ceil(static_cast<std::uint64_t>(rows))];
    known = known == nanoseconds::zero()
                ? took
                : std::chrono::duration_cast<nanoseconds>(known + kSmoothing * (took - known));
  }
  queue.on_batch_(rows, result);
  const auto now = ServeClock::now();
  for (const InferencePtr& r : batch) {
    r->input_ns = result.input_ns;
    r->infer_ns = result.infer_ns;
    r->output_ns = result.output_ns;
    r->batch_rows = rows;
    queue.delay_.answered(now - r->arrived);
    if (result.is_lost)
      r->finish(503, "a rank was lost while it computed the answer", 1);
    else if (!result.error.empty())
      r->finish(500, "the model could not compute the answer");
    else if (!is_finite(*r, queue.row_outputs_))
      r->finish(500, "the model's answer to these values is not a finite number");
    else
      r->finish(200);
  }
  if (!result.is_lost) pump();
}

double Dispatcher::utilisation(const ModelQueue& queue) const {
  const double one = std::chrono::duration<double>(service_time(queue, 1)).count();
  return queue.rows_per_second_ * one / static_cast<double>(group_.ranks().size());
}

/// Of a size that was never sent, by the next larger one in proportion: hopeful, so that it is tried.
nanoseconds Dispatcher::service_time(const ModelQueue& queue, std::int64_t rows) {
  if (queue.service_times_.empty()) return std::chrono::milliseconds(1);
  const auto size =
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::max(rows, 1L))));
  const auto found = queue.service_times_.lower_bound(size);
  if (found == queue.service_times_.end()) return queue.service_times_.rbegin()->second;
  return found->second * size / found->first;
}

}  // namespace phalanx
