// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/open_inference.hpp"

#include <iterator>

namespace phalanx {

std::vector<Route> open_inference_routes(InferenceService& service, std::function<bool()> is_ready,
                                         std::size_t most_body_bytes) {
  std::vector<Route> routes = open_inference_infer_routes(service, most_body_bytes);
  const auto append = [&routes](std::vector<Route> more) {
    std::ranges::move(more, std::back_inserter(routes));
  };
  append(open_inference_model_routes(service, std::move(is_ready)));
  append(open_inference_repository_routes(service));
  return routes;
}

}  // namespace phalanx
