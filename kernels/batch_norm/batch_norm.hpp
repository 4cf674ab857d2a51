// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Batch normalisation:  y = (x - m) * rstd * scale + bias, per channel, rstd = 1/sqrt(v +
/// epsilon).
///
/// training_mode = 1: m and v are the mean and the biased variance of the batch, over all axes but
/// the second, and
///   running_mean = momentum * mean + (1 - momentum) * m,   running_var = momentum * var + (1 -
///   momentum) * v.
/// training_mode = 0: m and v are the inputs mean and var, and y is the only output.
///
/// Shapes    x, y [N, C, ...] of rank 2 or more; scale, bias, mean, var, running_mean, running_var [C]; saved
///           (training): m, rstd [C].
/// Types     x, y f32 or bf16; all others f32. The variance is taken in two passes over each piece of a channel and
///           merged in double (Chan, Golub, LeVeque 1979); on a GPU in f32 within a block of threads, in double
///           between blocks.
/// Attributes epsilon = 1e-5, momentum = 0.9 (the weight of the old value, as in ONNX; PyTorch's is 1 - momentum),
///           training_mode = 0. running_var takes the biased variance, as ONNX says; PyTorch's takes the unbiased
///           one.
/// Layout    any format.
/// Aliasing  y may be x if no backward follows, dx may be dy; running_mean and running_var are mean and var, updated.
/// Gradients with h = (x - m) * rstd: dbias = sum dy, dscale = sum dy * h; dx = dy * scale * rstd with training_mode
///           = 0, dx = scale * rstd * (dy - mean(dy) - h * mean(dy * h)) otherwise. mean and var have none.
/// Empty     no elements: running statistics stay, dscale = dbias = 0. C == 0 throws.
/// Throws    InvalidArgument on a rank, size, type or attribute that does not fit.
/// ONNX      BatchNormalization, opset 15.
/// Source    Ioffe, Szegedy 2015, arXiv:1502.03167.
extern const OpSpec batch_norm_op;

}  // namespace phalanx
