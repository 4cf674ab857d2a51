// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Joins tensors along one axis:  y = x0, x1, ... one behind the other.
///
/// Shapes    x_i equal but for the axis; y has the sum of their sizes there. At most 31 inputs. Plain memory.
/// Types     f32 or bf16, all equal.
/// Attributes axis (required); negative counts from the end.
/// Gradients dx_i = its part of dy.
/// Empty     inputs of size 0 contribute nothing.
/// Throws    InvalidArgument if types, ranks or other sizes differ, naming the input.
/// ONNX      Concat, opset 13.
extern const OpSpec concat_op;

}  // namespace phalanx
