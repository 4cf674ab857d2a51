// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Logistic function:  y = 1 / (1 + e^-x).
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16; computed in f32.
/// Aliasing  y may be x. dx may be dy.
/// Gradients dx = y * (1 - y) * dy. Reads y, not x.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating.
/// ONNX      Sigmoid, opset 13.
extern const OpSpec sigmoid_op;

}  // namespace phalanx
