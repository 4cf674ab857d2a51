// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Softmax and cross-entropy, loss and gradient in one pass: what softmax_cross_entropy computes forward and backward, and
/// how many rows are right, as the last node of a training step.
///   loss = sum_n ( log sum_c exp(x[n, c]) - x[n, label[n]] ),   dx = dloss * (softmax(x) - onehot(label)),
///   correct = rows n in which the first of the largest x[n, c] stands at c = label[n].
///
/// Shapes    x, dx [N, C]; label [N]; dloss, loss, correct [] (scalars).
/// Types     x, dloss, loss, correct, dx f32, label i64 in [0, C); the sum over n is kept in double.
/// Attributes reduction = "sum" ("mean" divides loss and dx by N, and leaves correct alone).
/// Aliasing  dx may be x.
/// Gradients none: dx is one already, for the seed dloss.
/// Numbers   x is read once where a row fits the registers of a warp or a block (C <= 8192), on a GPU, else twice. The
///           largest is that of std::max_element, also where x has NaNs.
/// Empty     N == 0: loss = correct = 0. C == 0 throws.
/// Throws    InvalidArgument on rank, size or type; a label outside [0, C) is the caller's error and is not checked here.
extern const OpSpec softmax_cross_entropy_step_op;

}  // namespace phalanx
