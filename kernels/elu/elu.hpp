// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Exponential linear unit:  y = x for x > 0, else alpha * (e^x - 1).
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16; computed in f32.
/// Attributes alpha = 1; not negative.
/// Aliasing  y may be x. dx may be dy.
/// Gradients dx = dy where y > 0, else (y + alpha) * dy. Reads y, not x.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating or a negative alpha.
/// ONNX      Elu, opset 6, alpha >= 0 only.
/// Source    Clevert, Unterthiner, Hochreiter 2015, arXiv:1511.07289, eq. 15-16.
extern const OpSpec elu_op;

}  // namespace phalanx
