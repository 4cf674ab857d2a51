// SPDX-License-Identifier: Apache-2.0
#include "comm/progress_thread.hpp"

#include <fmt/format.h>

#include <utility>

#include "core/error.hpp"

namespace phalanx {

ProgressThread::ProgressThread() : thread_([this] { run(); }) {}

ProgressThread::~ProgressThread() { stop(); }

Request ProgressThread::submit(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  if (stopping_) throw CommError("the communicator was aborted");
  queue_.push_back({++last_id_, std::move(job), std::chrono::steady_clock::now()});
  submitted_.notify_one();
  return {last_id_};
}

RequestTimes ProgressThread::wait(Request request) {
  std::unique_lock lock(mutex_);
  require(request.id > 0 && request.id <= last_id_,
          fmt::format("request {} was never started (the last one is {})", request.id, last_id_));
  finished_.wait(lock, [&] { return last_finished_ >= request.id || stopping_; });
  const auto result = results_.find(request.id);
  if (result != results_.end()) {
    const RequestTimes times = result->second;
    results_.erase(result);
    return times;
  }
  if (failure_) std::rethrow_exception(failure_);
  if (stopping_) throw CommError("the communicator was aborted");
  throw InvalidArgument(fmt::format("request {} was waited for twice", request.id));
}

void ProgressThread::rethrow_failure() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

void ProgressThread::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    submitted_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  finished_.notify_all();
}

void ProgressThread::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    submitted_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    if (!failure_) {
      lock.unlock();
      const auto begun = std::chrono::steady_clock::now();
      std::exception_ptr failure;
      try {
        job.work();
      } catch (...) {
        failure = std::current_exception();
      }
      const auto ended = std::chrono::steady_clock::now();
      lock.lock();
      if (failure) {
        failure_ = failure;
      } else {
        results_[job.id] = {job.queued, begun, ended};
      }
    }
    last_finished_ = job.id;
    finished_.notify_all();
  }
}

}  // namespace phalanx
