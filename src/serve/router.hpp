// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api_keys.hpp"
#include "serve/http.hpp"

namespace phalanx {

/// Segments of the path that a pattern names, "model" -> "fashion".
using RouteValues = std::map<std::string, std::string, std::less<>>;

struct Route {
  std::string method;
  std::string pattern;  ///< "/v2/models/{model}/infer"
  Access access = Access::kInfer;
  std::string summary;  ///< of docs and /openapi.json
  std::function<Awaitable<HttpResponse>(HttpExchange&, const RouteValues&)> handle;
  /// Names in openapi_schemas() of what its bodies are, where they are JSON; empty: no body, or none that is JSON.
  std::string answer_schema = {}, request_schema = {};
};

/// Finds the route of a request.
class Router {
 public:
  void add(std::vector<Route> routes);
  const std::vector<Route>& routes() const noexcept { return routes_; }

  struct Match {
    const Route* route = nullptr;
    RouteValues values;
  };
  /// Throws    Refusal 404 for an unknown path, 405 naming the methods that it has.
  Match find(const HttpHead& head) const;

 private:
  std::vector<Route> routes_;
  std::vector<std::vector<std::string>> patterns_;  // split
};

}  // namespace phalanx
