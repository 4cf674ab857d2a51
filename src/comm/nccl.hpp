// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "comm/nccl_library.hpp"

namespace phalanx {

struct NcclOptions {
  Device device;
  std::string host = "this host";  ///< name of this rank's, for messages
  double deadline_seconds = 60;
};

/// On memory of one GPU a rank, no two the same, by NCCL. `host` carries the start, barriers and tensors in host memory.
/// Collective: NCCL has started on all ranks, or every rank throws; which, and how far the others were, is in the text.
///
/// Collectives run on a stream of the communicator's own, behind what the caller's stream was given before; wait() makes the
/// caller's stream wait for them. The host never waits for the GPU but in synchronize(), nor for NCCL but until it has
/// enqueued a call, which at the first calls takes connections. A rank that waits longer than the deadline logs and throws
///
///     rank 3 on node2 waited 60.0 s in all_reduce #4121 (bucket 7)
///
/// for a collective counted from when the host saw it run. Then NCCL is aborted, and later calls throw. NCCL does not tell
/// which rank is missing.
///
/// Sums are taken in an order of NCCL's, the same for the same ranks, GPUs and sizes. reduce_scatter and all_gather of parts
/// are one operation of NCCL where the parts are equal, else one of reduce or broadcast for each part, in one group.
/// A stream outlives what was started on it, and is synchronised before the communicator ends.
/// Throws    CommError; InvalidArgument for a CPU.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host,
                                                     std::shared_ptr<const NcclLibrary> library,
                                                     const NcclOptions& options);

}  // namespace phalanx
