// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "comm/communicator.hpp"

namespace phalanx {

/// One thread that runs jobs in the order of their submission and sleeps while there are none.
/// After a job has thrown, every later job ends with the same exception without being run.
class ProgressThread {
 public:
  ProgressThread();
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;
  ~ProgressThread();

  Request submit(std::function<void()> job);
  /// Waits for one job, which must not have been waited for.
  /// Throws    what the job threw; InvalidArgument for an unknown request.
  RequestTimes wait(Request request);
  /// Throws what a job threw, if one did.
  void rethrow_failure();
  /// Lets the running job end, drops the others and joins the thread. May be called twice.
  void stop() noexcept;

 private:
  struct Job {
    std::uint64_t id;
    std::function<void()> work;
    std::chrono::steady_clock::time_point queued;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable submitted_, finished_;
  std::deque<Job> queue_;
  std::map<std::uint64_t, RequestTimes> results_;  // finished and not yet waited for
  std::exception_ptr failure_;
  std::uint64_t last_id_ = 0;
  std::uint64_t last_finished_ = 0;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace phalanx
