// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_runtime.hpp"

#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "core/error.hpp"
#include "core/log.hpp"

namespace phalanx {

MpiRuntime::MpiRuntime(int& argc, char**& argv) : exceptions_(std::uncaught_exceptions()) {
  // A waiting rank gives its core away. Open MPI does so by itself only where it knows that ranks share cores; with a
  // hostfile or under Slurm it does not, and collectives become hundreds of times slower. The user's own setting wins.
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  const StartWatch::Stage stage(*start_watch_, "MPI_Init");
  int granted = MPI_THREAD_SINGLE;
  require<CommError>(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &granted) == MPI_SUCCESS,
                     "MPI could not start");
  serves_threads_ = granted >= MPI_THREAD_SERIALIZED;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
}

MpiRuntime::~MpiRuntime() {
  // The other ranks may be waiting in a collective that this rank has left: MPI_Finalize would wait
  // for them in turn.
  if (size_ > 1 && std::uncaught_exceptions() > exceptions_)
    abort(static_cast<int>(ExitCode::kFailed));
  MPI_Finalize();
  if (!watch_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    has_ended_ = true;
  }
  ended_.notify_all();
  watch_.join();
}

void MpiRuntime::end_within(double seconds) {
  if (size_ == 1 || watch_.joinable()) return;
  watch_ = std::thread([this, seconds] {
    std::unique_lock lock(mutex_);
    if (ended_.wait_for(lock, std::chrono::duration<double>(seconds),
                        [this] { return has_ended_; }))
      return;
    log_error("waited {:g} s for another rank to end, all work being done", seconds);
    std::fflush(stdout);
    std::_Exit(static_cast<int>(ExitCode::kPeerLost));  // MPI is in use by the thread that waits
  });
}

void MpiRuntime::abort(int exit_code) noexcept {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace phalanx
