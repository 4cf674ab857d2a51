// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Gaussian error linear unit:  y = x * Phi(x),  Phi(x) = (1 + erf(x / sqrt 2)) / 2, or with approximate = "tanh"
/// y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16; computed in f32.
/// Attributes approximate = "none" or "tanh".
/// Aliasing  y may be x if no backward follows. dx may be dy.
/// Gradients dx = (Phi(x) + x * phi(x)) * dy with the normal density phi, or the derivative of the tanh form. Reads x.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating or another approximation.
/// ONNX      Gelu, opset 20.
/// Source    Hendrycks, Gimpel 2016, arXiv:1606.08415, section 2.
extern const OpSpec gelu_op;

}  // namespace phalanx
