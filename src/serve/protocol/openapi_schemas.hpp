// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace phalanx {

/// The bodies of requests and answers as JSON schemas by name, a JSON object: what components/schemas of the OpenAPI document
/// hold, and what routes name. Answers of the server may have no members but these.
std::string_view openapi_schemas() noexcept;

}  // namespace phalanx
