// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "serve/gate.hpp"
#include "serve/http.hpp"
#include "serve/rank_group.hpp"

namespace phalanx {

struct FrontOptions {
  std::string repository;           ///< empty: none, for attached ranks that hold a model
  std::vector<std::string> models;  ///< loaded at the start; empty: all
  HttpServerOptions http;
  GateOptions gate;
  RankGroupOptions ranks;
  std::size_t arena_bytes = std::size_t{1} << 30;  ///< for requests and answers
  double drain_seconds = 30;                       ///< after SIGTERM: for requests that wait or run
  double grace_seconds =
      0;  ///< after SIGTERM: so long requests are still taken, while /v2/health/ready says no
  int announce_descriptor = -1;  ///< gets the address for attached ranks, a line
  bool triton_metrics = false;   ///< /metrics has the families nv_inference_* as well
  std::string access_log = "-";  ///< file; "-": standard output; empty: none
};

/// The front end: takes requests over HTTP, makes batches of them and spreads them over the ranks, which it starts, until
/// SIGTERM or SIGINT. One thread does it all, but for decoding pictures.
/// Throws    what keeps it from starting: ConfigError, IoError, InvalidInput. Later errors are answers and lines of the log.
void serve_front(const FrontOptions& options);

}  // namespace phalanx
