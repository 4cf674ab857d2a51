// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// One step of stochastic gradient descent with momentum:
///   d = gradient_scale * g + weight_decay * w;  v' = momentum * v + d;  w' = w - learning_rate * u,
///   u = v', or with nesterov d + momentum * v'. Without a momentum buffer u = d.
///
/// Shapes    w, g, v equal, any but a scalar: a slice of the parameter arena; hyper [4].
/// Types     all f32 but the copy.
/// Inputs    w; g; v (optional; zeros before the first step); hyper = {learning_rate, weight_decay, gradient_scale, momentum}.
/// Outputs   w', v' (absent without v), with copy = 1 also w' rounded to bf16.
/// Attributes nesterov = 0, copy = 0.
/// Aliasing  w' is w and v' is v: both are updated in place.
/// Skipped   if gradient_scale is NaN: w, v and the copy stay as they are. On a GPU the kernel reads it, so that a bad step
///           need not wait for the host.
/// Gradients none.
/// Empty     nothing is done.
/// Throws    InvalidArgument if a type or size does not fit, or for nesterov without v.
/// ONNX      ai.onnx.preview.training.Momentum with mode "standard" or "nesterov"; there R and T are inputs, dampening is
///           applied from the second step on (here never), and the gradient is not scaled.
/// Source    Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning. ICML
///           2013; in PyTorch's form (torch.optim.SGD), where the learning rate stands outside v.
extern const OpSpec sgd_op;

}  // namespace phalanx
