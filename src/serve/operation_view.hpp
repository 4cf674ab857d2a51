// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "serve/http_stats.hpp"
#include "serve/registry.hpp"
#include "serve/shared_arena.hpp"

namespace phalanx {

/// What /metrics and /status read of the server. Borrows.
struct OperationView {
  const Registry& registry;
  const RankGroup& group;
  const SharedArena& arena;
  const HttpServer& http;
  const HttpStats& http_stats;
  std::function<bool()> is_ready, is_draining;
  std::string program_version;
  std::chrono::system_clock::time_point started;
};

/// What this process has taken of its machine.
struct ProcessUsage {
  std::uint64_t resident_bytes = 0;
  double cpu_seconds = 0;
};
/// Zeros where the system does not say.
ProcessUsage process_usage();

}  // namespace phalanx
