// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Leaky rectified linear unit:  y = x for x > 0, else alpha * x.
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16; computed in f32.
/// Attributes alpha = 0.01; not negative.
/// Aliasing  y may be x. dx may be dy.
/// Gradients dx = dy where y > 0, else alpha * dy. Reads y, not x: with alpha >= 0 both have one sign.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating or a negative alpha.
/// ONNX      LeakyRelu, opset 16, alpha >= 0 only.
/// Source    Maas, Hannun, Ng: Rectifier nonlinearities improve neural network acoustic models. ICML 2013.
extern const OpSpec leaky_relu_op;

}  // namespace phalanx
