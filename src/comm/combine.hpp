// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.hpp"

namespace phalanx {

/// out[i] = inputs[0][i] op inputs[1][i] op ..., from left to right, for i in [0, count). This
/// order is the same in every algorithm of this folder, which is why they give equal bits. `out`
/// may be one of the inputs.
void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* out,
             std::int64_t count);

}  // namespace phalanx
