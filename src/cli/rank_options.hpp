// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "cli/options.hpp"
#include "cli/session.hpp"

namespace phalanx {

/// What every command asks that runs a network on ranks; train has them among its keys.
inline void add_device_options(OptionTable& table, std::string& device, std::int64_t& threads) {
  table.add("device", &device, "", "where kernels run").choices({"auto", "cpu", "cuda"});
  table.add("threads", &threads, "", "OpenMP threads per rank").at_least(1);
}

/// And what those ask whose ranks stand in one group.
inline void add_rank_options(OptionTable& table, SessionOptions& session) {
  table.group("Ranks");
  add_device_options(table, session.device, session.threads);
  table.add("gemm", &session.gemm, "", "GPU: whose products of matrices; auto measures")
      .choices({"auto", "own", "cublas"});
  table.add("conv", &session.conv, "", "GPU: whose convolutions; auto measures")
      .choices({"auto", "own", "cudnn"});
  table.add("deadline-seconds", &session.deadline_seconds, "s", "longest wait for another rank")
      .above(0);
}

}  // namespace phalanx
