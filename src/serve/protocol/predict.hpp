// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "serve/inference_service.hpp"
#include "serve/router.hpp"

namespace phalanx {

/// POST /predict/{model} and /predict/{model}/{version}, where the version may be an alias: the protocol for people and curl.
/// docs/http_api.md describes it.
std::vector<Route> predict_routes(InferenceService& service);

}  // namespace phalanx
