// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// The same elements in the same order under another shape.
///
/// Shapes    x any; y as the attribute says, of as many elements.
/// Types     any.
/// Attributes shape: sizes; 0 keeps the size of the same axis of x (with allowzero = 1 it is a size of 0), and one -1 takes
///           what is left.
/// Aliasing  y is x under another shape: nothing runs when they share memory. The same for dx and dy.
/// Throws    InvalidArgument if the elements do not fit, naming both shapes.
/// ONNX      Reshape, opset 14, with the shape as an attribute instead of an input.
extern const OpSpec reshape_op;

}  // namespace phalanx
