// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.hpp"

namespace phalanx {

/// out[i] = inputs[0][i] op inputs[1][i] op ..., for i in [0, count) and every output, in a binary tree: the left half holds
/// the largest power of two inputs that leaves any for the right, and so on down, as in ((0 + 1) + (2 + 3)) + (4 + 5). So
/// the sum over an aligned group of 2^k ranks is part of every sum over more. This order is the same wherever something is
/// summed over ranks or shards, which is why the bits are equal. bf16 is combined in f32 and rounded once.
///
/// Aliasing  an output may be an input; outputs do not overlap each other.
/// Throws    InvalidArgument for u8.
void combine(ReduceOp op, DType type, std::span<const void* const> inputs,
             std::span<void* const> outputs, std::int64_t count);

/// The same with one output.
inline void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
                    std::int64_t count) {
  combine(op, type, inputs, std::span<void* const>(&output, 1), count);
}

/// On the device of a stream.
void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
             std::int64_t count, Stream& stream);

}  // namespace phalanx
