// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "serve/operation_view.hpp"
#include "serve/router.hpp"

namespace phalanx {

/// GET /status: models, ranks, counters and gauges as one JSON object, for the dashboard, which asks every second and computes
/// rates from differences. Counters only grow, but begin again at 0 when a version is loaded again or ranks are started again.
/// docs/http_api.md describes it.
std::vector<Route> status_routes(OperationView view);

}  // namespace phalanx
