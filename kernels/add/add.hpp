// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Elementwise sum:  y = a + b.
///
/// Shapes    a, b broadcast to y as in NumPy: axes align at the end, a size of 1 stretches. Any memory format for those of
///           rank 4; operands of another rank are plain.
/// Types     a, b, y share f32 or bf16; or one of a, b is f32 and the other bf16, then y is bf16. Computed in f32.
/// Aliasing  y may be an operand of its own type. da or db may be dy.
/// Gradients da = dy, db = dy, each summed in f32 over the axes
///           along which its operand was stretched; overwritten, or added to if a parameter's.
/// Empty     nothing is done; gradients of stretched operands are 0.
/// Throws    InvalidArgument if the sizes do not broadcast or a type is not floating.
/// ONNX      Add, opset 14, floating types only.
/// Source    ONNX, Broadcasting.md, multidirectional.
extern const OpSpec add_op;

}  // namespace phalanx
