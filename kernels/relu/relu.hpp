// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Rectified linear unit:  y = max(x, 0); NaN stays NaN.
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16.
/// Aliasing  y may be x. dx may be dy.
/// Gradients dx = dy where y > 0, else 0; at x = 0 the gradient is 0. Reads y, not x.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating.
/// ONNX      Relu, opset 14.
extern const OpSpec relu_op;

}  // namespace phalanx
