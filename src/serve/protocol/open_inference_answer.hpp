// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "serve/http.hpp"
#include "serve/protocol/open_inference_request.hpp"
#include "serve/registry.hpp"
#include "serve/repository.hpp"

namespace phalanx {

/// The answer to an infer request: `output` holds f32 [rows, outputs]. Binary values are sent from where they lie.
HttpResponse infer_response(const ServedVersion& version, const InferSchema& schema,
                            const InferRequest& request, const SharedBlock& output);

// Bodies of the other answers.

std::string server_metadata_json();
std::string model_metadata_json(const ServedModelEntry& entry, const ServedVersion& version);
std::string model_config_json(const ServedVersion& version);
/// One version's element of "model_stats". `tells_memory`: with what it takes on every rank.
std::string model_stats_json(const ServedVersion& version, const RankGroup& group,
                             bool tells_memory);

}  // namespace phalanx
