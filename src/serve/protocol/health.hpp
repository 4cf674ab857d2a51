// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "serve/router.hpp"

namespace phalanx {

/// GET /healthz: 200 while the process lives; the body says whether it is ready.
std::vector<Route> health_routes(std::function<bool()> is_ready);

}  // namespace phalanx
