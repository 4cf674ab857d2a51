// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "device/backend.hpp"

namespace phalanx {

/// The GPUs that this rank sees, and the one that it takes.
struct RankGpus {
  CudaBackendResult cuda;
  std::vector<GpuInfo> visible;  ///< empty: there is none, and cuda.why_none says why
  GpuPlace place;                ///< of this rank, if there is one

  Device device() const noexcept {
    return visible.empty() ? Device{}
                           : Device{DeviceKind::kCuda, place.index, &cuda.backend->get()};
  }
};

/// Collective. Opens the CUDA half of the program where this rank has a GPU.
/// `host`: a communicator for host memory.
RankGpus find_gpus(const RankLayout& layout, Communicator& host);

}  // namespace phalanx
