// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/attributes.hpp"

namespace phalanx {

/// By what the sum over `rows` rows, and the gradient that flows into it, are multiplied.
inline float cross_entropy_scale(const Attributes& attributes, std::int64_t rows) {
  return attributes.get_string("reduction", "sum") == "mean" && rows > 0
             ? 1.0f / static_cast<float>(rows)
             : 1.0f;
}

}  // namespace phalanx
