// SPDX-License-Identifier: Apache-2.0
// GoogleTest's main for programs under mpirun: all ranks run the same tests, rank 0 reports them
// all, the others report what fails with their rank, and the program fails if any rank does.
#include "mpi_main.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "core/log.hpp"

namespace phalanx {
namespace {

MpiRuntime* runtime = nullptr;

class FailuresOnly final : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    fmt::print(stderr, "rank {}: {}:{}: {}\n", runtime->rank(),
               result.file_name() ? result.file_name() : "?", result.line_number(),
               result.message());
  }
};

}  // namespace

MpiRuntime& test_mpi() { return *runtime; }

}  // namespace phalanx

int main(int argc, char** argv) {
  phalanx::MpiRuntime mpi(argc, argv);
  phalanx::runtime = &mpi;
  phalanx::configure_log(phalanx::LogLevel::kInfo, mpi.rank(), mpi.size());
  testing::InitGoogleTest(&argc, argv);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (mpi.rank() > 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new phalanx::FailuresOnly);
  }
  int result = RUN_ALL_TESTS();
  MPI_Allreduce(MPI_IN_PLACE, &result, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  return result;
}
