// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.hpp"

namespace phalanx {

enum class ReduceOp : std::uint8_t { kSum, kMax, kMin };

/// out[i] = inputs[0][i] op inputs[1][i] op ..., for i in [0, count), in a binary tree: the left half holds the largest
/// power of two inputs that leaves any for the right, and so on down, as in ((0 + 1) + (2 + 3)) + (4 + 5). So the sum over
/// an aligned group of 2^k ranks is part of every sum over more. This order is the same in every algorithm of this folder,
/// which is why they give equal bits. `out` may be one of the inputs.
void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* out,
             std::int64_t count);

}  // namespace phalanx
