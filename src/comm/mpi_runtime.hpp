// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "comm/start_watch.hpp"

namespace phalanx {

/// MPI from MPI_Init_thread to MPI_Finalize. One object, in main, that outlives every communicator.
/// Works without a launcher too, as rank 0 of 1.
class MpiRuntime {
 public:
  /// Throws    CommError if MPI cannot start. Where other ranks do not come, the job is ended: see StartWatch.
  MpiRuntime(int& argc, char**& argv);
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;
  /// Ends MPI. While an exception unwinds, the whole job is taken down with ExitCode::kFailed
  /// instead, because the other ranks may never come to MPI_Finalize: catch what should give
  /// another exit code inside, and call abort().
  ~MpiRuntime();

  /// Guards what ranks do together before they have a communicator.
  StartWatch& start_watch() const noexcept { return *start_watch_; }
  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  /// Whether a thread other than the one that made this object may call MPI (MPI_THREAD_SERIALIZED
  /// was granted).
  bool serves_threads() const noexcept { return serves_threads_; }
  /// From here on the process only comes to its end. Should that take longer, since MPI waits for a rank that hangs, the job
  /// is taken down with ExitCode::kPeerLost.
  void end_within(double seconds);
  /// Takes the whole job down with this exit code. Does not return.
  [[noreturn]] void abort(int exit_code) noexcept;

 private:
  std::unique_ptr<StartWatch> start_watch_ = std::make_unique<StartWatch>();
  int rank_ = 0;
  int size_ = 1;
  bool serves_threads_ = false;
  int exceptions_;  // in flight when MPI was started
  std::mutex mutex_;
  std::condition_variable ended_;
  bool has_ended_ = false;  // guarded by mutex_
  std::thread watch_;       // of end_within
};

}  // namespace phalanx
