// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Logarithm of softmax:  y = x - log(sum e^x over one axis).
///
/// Shapes    x, y equal, rank 1 or more; the axis may be any.
/// Types     f32 or bf16; computed in f32, after the largest element of the axis was subtracted.
/// Attributes axis = -1; negative counts from the end.
/// Aliasing  y may be x. dx may be dy.
/// Gradients dx = dy - e^y * (sum of dy over the axis). Reads y, not x.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a scalar, an axis that does not exist, or a type that is not floating.
/// ONNX      LogSoftmax, opset 13.
extern const OpSpec log_softmax_op;

}  // namespace phalanx
