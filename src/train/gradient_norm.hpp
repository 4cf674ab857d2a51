// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/gradient_reducer.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// Euclidean norm of an f32 tensor, sqrt(sum v_i^2). Added in double, in blocks of kPartBlock elements and then over blocks,
/// always in the same order.
double norm(ConstTensorView values);

/// The same, to the last bit, where every rank holds what `reducer` says it owns. Collective.
double norm_of_parts(ConstTensorView values, const GradientReducer& reducer, Communicator& comm,
                     Stream& stream);

/// The same in memory of a GPU, without a wait: one double, stored as i64, for each block of `values`; see
/// DeviceBackend::judge_step for the rest. `reducer`: says what this rank owns; null: all.
std::int64_t blocks_of_norm(std::int64_t elements) noexcept;
void norm_blocks(ConstTensorView values, const GradientReducer* reducer, TensorView sums,
                 Communicator& comm, Stream& stream);

}  // namespace phalanx
