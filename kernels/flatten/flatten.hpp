// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Folds the axes before `axis` into the first and the others into the second:  x [d0, ..., dk] -> y [d0*...*da-1, da*...*dk].
///
/// Types     any.
/// Attributes axis = 1; negative counts from the end; rank(x) gives [numel, 1].
/// Aliasing  y is x under another shape: nothing runs when they share memory. The same for dx and dy.
/// Throws    InvalidArgument for an axis outside [-rank, rank].
/// ONNX      Flatten, opset 13.
extern const OpSpec flatten_op;

}  // namespace phalanx
