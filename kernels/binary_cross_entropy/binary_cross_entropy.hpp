// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Binary cross-entropy with logits:  loss = scale * sum of log(1 + e^x) - x * target.
///
/// Shapes    x, target equal, rank 1 or more: rows [N, ...]; loss [] (a scalar).
/// Types     all f32; the sum is kept in double.
/// Attributes reduction = "sum" (scale 1), "mean" (1 / elements), "row_mean_sum" (1 / elements of a row: the sum over rows of
///           the mean over columns; divided by the rows of the global batch it is the mean, however that batch is cut).
/// Gradients dx = dloss * scale * (sigmoid(x) - target). The target has none.
/// Aliasing  none.
/// Empty     no elements: loss = 0.
/// Throws    InvalidArgument if shapes or types differ, for a scalar, or for another reduction.
/// Source    torch.nn.BCEWithLogitsLoss; log(1 + e^x) is computed as max(x, 0) + log(1 + e^-|x|), which does not overflow.
extern const OpSpec binary_cross_entropy_op;

}  // namespace phalanx
