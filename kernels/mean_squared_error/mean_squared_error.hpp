// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Squared error:  loss = scale * sum of (x - target)^2.
///
/// Shapes    x, target equal, rank 1 or more: rows [N, ...]; loss [] (a scalar).
/// Types     all f32; the sum is kept in double.
/// Attributes reduction = "sum" (scale 1), "mean" (1 / elements), "row_mean_sum" (1 / elements of a row: the sum over rows of
///           the mean over columns; divided by the rows of the global batch it is the mean, however that batch is cut).
/// Gradients dx = dloss * scale * 2 * (x - target). The target has none.
/// Aliasing  none.
/// Empty     no elements: loss = 0.
/// Throws    InvalidArgument if shapes or types differ, for a scalar, or for another reduction.
/// Source    torch.nn.MSELoss.
extern const OpSpec mean_squared_error_op;

}  // namespace phalanx
