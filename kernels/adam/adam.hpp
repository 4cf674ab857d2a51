// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// One step of Adam, or of AdamW with decoupled = 1:
///   d = gradient_scale * g, plus weight_decay * w unless decoupled;  m' = beta1 * m + (1 - beta1) * d;
///   v' = beta2 * v + (1 - beta2) * d^2;  w' = w~ - learning_rate / bias_correction1 * m' / (sqrt(v' / bias_correction2) +
///   epsilon), where w~ = w, or (1 - learning_rate * weight_decay) * w if decoupled.
///
/// Shapes    w, g, m, v equal, any but a scalar: a slice of the parameter arena; hyper [8].
/// Types     all f32 but the copy.
/// Inputs    w; g; m; v (both zeros before the first step); hyper = {learning_rate, weight_decay, gradient_scale, beta1,
///           beta2, epsilon, bias_correction1 = 1 - beta1^t, bias_correction2 = 1 - beta2^t}, t = 1 in the first step.
///           The caller computes the corrections in double from the betas as rounded to f32: then they fit what the
///           kernel accumulates (1 - 0.999f is off by 5e-5 from 0.001).
/// Outputs   w', m', v', with copy = 1 also w' rounded to bf16.
/// Attributes decoupled = 0 (Adam: weight decay is part of the gradient), 1 (AdamW); copy = 0.
/// Aliasing  w' is w, m' is m, v' is v: all are updated in place.
/// Skipped   if gradient_scale is NaN: w, m, v and the copy stay as they are. On a GPU the kernel reads it, so that a bad step
///           need not wait for the host.
/// Gradients none.
/// Empty     nothing is done.
/// Throws    InvalidArgument if a type or size does not fit.
/// ONNX      ai.onnx.preview.training.Adam; there epsilon is added before the division by the second correction, which is
///           folded into the learning rate, norm_coefficient is the weight decay, and there is no decoupled form.
/// Source    Kingma, Ba: Adam, arXiv:1412.6980, algorithm 1; Loshchilov, Hutter: Decoupled weight decay regularization,
///           arXiv:1711.05101, algorithm 2; epsilon stands as in torch.optim.Adam.
extern const OpSpec adam_op;

}  // namespace phalanx
