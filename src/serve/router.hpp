// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http.hpp"

namespace phalanx {

/// What a key must be allowed to do.
enum class Access : std::uint8_t {
  kPublic,  ///< no key
  kInfer,   ///< ask models, and about them
  kAdmin,   ///< load and unload
};

/// Segments of the path that a pattern names, "model" -> "fashion".
using RouteValues = std::map<std::string, std::string, std::less<>>;

struct Route {
  std::string method;
  std::string pattern;  ///< "/v2/models/{model}/infer"
  Access access = Access::kInfer;
  std::string summary;  ///< of docs and /openapi.json
  std::function<Awaitable<HttpResponse>(HttpExchange&, const RouteValues&)> handle;
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
