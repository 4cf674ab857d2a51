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

}  // namespace phalanx
