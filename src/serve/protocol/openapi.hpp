// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "serve/router.hpp"

namespace phalanx {

/// The routes of a server as a document of OpenAPI 3.1: what there is, what its path names, and what a key must be allowed.
std::string openapi_document(const std::vector<Route>& routes, const std::string& program_version);

/// GET /openapi.json, made of all routes that `router` has when it is asked for. Borrows.
std::vector<Route> openapi_routes(const Router& router, std::string program_version);

}  // namespace phalanx
