// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Softplus, a smooth rectifier:  y = log(1 + e^x).
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16; computed in f32, within 4 ulp.
/// Aliasing  y may be x. dx may be dy.
/// Gradients dx = dy / (1 + e^-x) = dy * (1 - e^-y). Reads y, not x.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating.
/// ONNX      Softplus, opset 1.
extern const OpSpec softplus_op;

}  // namespace phalanx
