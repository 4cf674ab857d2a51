// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "serve/operation_view.hpp"
#include "serve/router.hpp"

namespace phalanx {

/// GET /metrics, for Prometheus. Labels are names of what is served, never what a client sent. With `triton_names` the
/// nv_inference_* families as well, so that boards and scaling rules made for those go on. docs/http_api.md lists all.
std::vector<Route> metrics_routes(OperationView view, bool triton_names);

}  // namespace phalanx
