// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "serve/http.hpp"
#include "serve/stats.hpp"

namespace phalanx {

/// What the HTTP server has answered since it was started.
struct HttpStats {
  void add(const HttpRecord& record);

  std::uint64_t requests = 0;
  std::uint64_t received_bytes = 0, sent_bytes = 0;
  LatencyHistogram seconds;  ///< from the first byte of a request to the last of its answer
  /// Requests by the pattern of their route, "" where there is none, and status: both come from the server, so that no client
  /// can make this long.
  std::map<std::pair<std::string, int>, std::uint64_t> by_route;
  /// Requests by the first digit of their status.
  std::array<std::uint64_t, 6> by_class{};
};

}  // namespace phalanx
