// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// The same values in another floating type:  y = x rounded to nearest even; NaN stays NaN.
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     x f32 or bf16; y the type that `to` names.
/// Attributes to = "f32" or "bf16"; must be given.
/// Gradients dx = dy, cast back to the type of x; it overwrites, or is added to if x is a parameter used before.
/// Aliasing  none.
/// Empty     nothing is done.
/// Throws    InvalidArgument for another type on either side.
/// ONNX      Cast, opset 13, between FLOAT and BFLOAT16; there `to` is the number of a type.
extern const OpSpec cast_op;

}  // namespace phalanx
