// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// The sum of a tensor over the ranks that hold parts of it:  y = sum_r x_r, equal on all ranks. Inserted by the pass
/// `split_columns`. The kernel copies; the executor then hands y to RunOptions::collective, so that no kernel knows ranks.
/// Without a collective, that is on one rank, y = x.
///
/// Shapes    x, y equal, plain.
/// Types     f32.
/// Aliasing  y may be x.
/// Gradients dx = dy: every rank has the same dy, and x_r enters the sum once.
/// Throws    InvalidArgument for another type.
extern const OpSpec all_reduce_op;

}  // namespace phalanx
