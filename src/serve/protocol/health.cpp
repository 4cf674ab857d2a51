// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/health.hpp"

namespace phalanx {

std::vector<Route> health_routes(std::function<bool()> is_ready) {
  return {{"GET", "/healthz", Access::kPublic, "Whether the server lives, and is ready",
           [is_ready = std::move(is_ready)](HttpExchange&,
                                            const RouteValues&) -> Awaitable<HttpResponse> {
             HttpResponse response;
             response.body =
                 is_ready() ? R"({"live":true,"ready":true})" : R"({"live":true,"ready":false})";
             co_return response;
           },
           "Health"}};
}

}  // namespace phalanx
