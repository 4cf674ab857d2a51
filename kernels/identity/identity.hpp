// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// The input under another name:  y = x.
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     any.
/// Aliasing  y is x: nothing runs when they share memory. The same for dx and dy.
/// Gradients dx = dy.
/// Empty     nothing is done.
/// Throws    InvalidArgument unless there is one input.
/// ONNX      Identity, opset 16, tensors only.
extern const OpSpec identity_op;

}  // namespace phalanx
