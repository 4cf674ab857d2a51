// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// The number of right answers of a classifier:  y = sum_n [argmax_c x[n, c] = target[n]], where the first of equal values is
/// the largest, or, for answers of yes and no, y = sum_{n, k} [(x[n, k] > 0) = (target[n, k] > 1/2)].
///
/// Shapes    x [N, C]; target [N], or [N, C] for yes and no; y [] (a scalar).
/// Types     x f32; target i64 in [0, C), or f32; y f32: exact below 2^24.
/// Aliasing  none.
/// Gradients none.
/// Empty     N == 0: y = 0. C == 0 throws.
/// Throws    InvalidArgument on rank, size or type.
extern const OpSpec count_correct_op;

}  // namespace phalanx
