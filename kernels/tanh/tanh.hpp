// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Hyperbolic tangent:  y = tanh(x).
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16; computed in f32.
/// Aliasing  y may be x. dx may be dy.
/// Gradients dx = (1 - y^2) * dy. Reads y, not x.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating.
/// ONNX      Tanh, opset 13.
extern const OpSpec tanh_op;

}  // namespace phalanx
