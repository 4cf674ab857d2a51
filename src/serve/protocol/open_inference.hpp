// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "serve/inference_service.hpp"
#include "serve/protocol/open_inference_request.hpp"
#include "serve/router.hpp"

namespace phalanx {

/// The Open Inference Protocol, version 2, over REST: health, metadata, configuration, statistics, inference with the binary
/// tensor extension, and the repository. docs/http_api.md describes it.
/// Bodies of more than `most_body_bytes` are refused.
///
/// Source    open-inference-protocol, inference_rest.md; the extensions binary_tensor_data, classification,
///           model_configuration, model_repository, parameters and statistics.
std::vector<Route> open_inference_routes(InferenceService& service, std::function<bool()> is_ready,
                                         std::size_t most_body_bytes);

// Its parts.

std::vector<Route> open_inference_infer_routes(InferenceService& service,
                                               std::size_t most_body_bytes);
/// Asking about the server and its models.
std::vector<Route> open_inference_model_routes(InferenceService& service,
                                               std::function<bool()> is_ready);
/// What is there, load and unload.
std::vector<Route> open_inference_repository_routes(InferenceService& service);

/// Size of the JSON before binary tensors, in requests (in lower case) and answers.
inline constexpr const char* kJsonSizeHeader = "Inference-Header-Content-Length";
inline constexpr const char* kJsonSizeHeaderLower = "inference-header-content-length";

/// Priorities of requests: 1 goes first, those beyond the levels go with the last; a request that names none has the default.
inline constexpr int kPriorityLevels = 9, kDefaultPriority = 5;

}  // namespace phalanx
