// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "serve/asio.hpp"
#include "serve/batch_policy.hpp"
#include "serve/inference.hpp"
#include "serve/model_config.hpp"
#include "serve/rank_group.hpp"

namespace phalanx {

/// The requests that wait for one version of a model.
class ModelQueue {
 public:
  /// Told of every batch that was answered: its rows, and the batch's times.
  using OnBatch = std::function<void(std::int64_t rows, const BatchResult& result)>;

  ModelQueue(std::uint64_t handle, ModelConfig config, std::size_t row_outputs, OnBatch on_batch)
      : handle_(handle),
        config_(std::move(config)),
        row_outputs_(row_outputs),
        on_batch_(std::move(on_batch)),
        delay_(config_) {}

  const ModelConfig& config() const noexcept { return config_; }
  std::int64_t waiting_rows() const noexcept { return rows_; }
  std::size_t waiting_requests() const noexcept;
  std::int64_t running_rows() const noexcept { return running_rows_; }
  bool is_idle() const noexcept { return rows_ == 0 && running_rows_ == 0; }

 private:
  friend class Dispatcher;

  std::uint64_t handle_;
  ModelConfig config_;
  std::size_t row_outputs_;
  OnBatch on_batch_;
  std::map<int, std::deque<InferencePtr>> by_priority_;
  std::int64_t rows_ = 0, running_rows_ = 0;
  ServeClock::time_point earliest_deadline_ = ServeClock::time_point::max();  // or earlier
  double rows_per_second_ = 0;
  double most_in_flight_ = 0;  // rows here at once, of late
  ServeClock::time_point last_arrival_;
  std::multiset<ServeClock::time_point> ends_;  // of batches that run, as expected
  std::map<std::int64_t, std::chrono::nanoseconds> service_times_;  // by rows, smoothed
  DelayControl delay_;
};

/// Makes batches of what waits and spreads them over the ranks: the request that came first decides whose turn it is, and
/// a batch goes to the rank that will be free first.
class Dispatcher {
 public:
  Dispatcher(net::io_context& io, RankGroup& group);
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;
  ~Dispatcher();

  /// Takes requests for a queue, whose model is on all ranks now. Once, however often it is called.
  void add(const std::shared_ptr<ModelQueue>& queue);
  /// What waits in it is refused with 503.
  void remove(const std::shared_ptr<ModelQueue>& queue);

  /// Rows with their place, deadline and `finished`; at most max_batch_size.
  /// Throws    Refusal 503 if the queue is full, or its model is not on the ranks.
  void submit(const std::shared_ptr<ModelQueue>& queue, InferencePtr request);
  /// Nobody wants its answer any more. What waits is dropped at once.
  void cancel(const InferencePtr& request);
  /// The ranks are gone, and the models with them: everything that waits is refused with 503, and every queue has to be added
  /// again.
  void refuse_all(const std::string& why);
  /// Ranks have become free or have come back.
  void pump();

 private:
  struct RankLoad {
    ServeClock::time_point free_at;  ///< expected
  };
  bool dispatch_one(ServeClock::time_point now, std::chrono::nanoseconds& wait);
  static void drop_dead(ModelQueue& queue, ServeClock::time_point now);
  int choose_rank(ServeClock::time_point now, std::int64_t& idle_ranks);
  void send(ModelQueue& queue, const std::shared_ptr<ModelQueue>& keep, int rank,
            std::int64_t most_rows, ServeClock::time_point now);
  void answered(ModelQueue& queue, const std::vector<InferencePtr>& batch, std::int64_t rows,
                const BatchResult& result);
  double utilisation(const ModelQueue& queue) const;
  static std::chrono::nanoseconds service_time(const ModelQueue& queue, std::int64_t rows);

  RankGroup& group_;
  net::steady_timer timer_;
  /// When the timer looks again; max: it is not set. An earlier time than needed does no harm, and setting the timer anew
  /// costs a system call.
  ServeClock::time_point next_look_ = ServeClock::time_point::max();
  std::vector<std::shared_ptr<ModelQueue>> queues_;
  std::vector<RankLoad> ranks_;
};

}  // namespace phalanx
