// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/mpi_runtime.hpp"

namespace phalanx {

/// The MPI of this test program; every test runs on every rank of it.
MpiRuntime& test_mpi();

}  // namespace phalanx
