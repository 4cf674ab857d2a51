// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "serve/registry.hpp"
#include "serve/router.hpp"

namespace phalanx {

/// A model that requests are shown for.
struct OpenApiExample {
  std::string model;
  TensorSchema input;
};

/// The routes of a server as a document of OpenAPI 3.1: what there is, what its path names, what a key must be allowed, and
/// schemas of bodies.
std::string openapi_document(const std::vector<Route>& routes, const std::string& program_version,
                             const std::vector<OpenApiExample>& examples = {});

/// GET /openapi.json, made of all routes that `router` has when it is asked for, with an example for every small model that
/// the key may see. Borrows.
std::vector<Route> openapi_routes(const Router& router, const Registry& registry,
                                  std::string program_version);

}  // namespace phalanx
