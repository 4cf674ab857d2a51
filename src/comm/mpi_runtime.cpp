// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_runtime.hpp"

#include <mpi.h>

#include <cstdlib>
#include <exception>

#include "core/error.hpp"

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
}

void MpiRuntime::abort(int exit_code) noexcept {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace phalanx
