// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// The same image batch in another memory format:  y = x. Inserted by the pass `choose_layouts`, never by users.
///
/// Shapes    x, y [N, C, H, W].
/// Types     f32 or bf16.
/// Attributes channel_block = 1: of y; must divide C.
/// Gradients dx = dy, back in the format of x.
/// Throws    InvalidArgument if the rank is not 4 or the block does not divide C.
extern const OpSpec reorder_op;

}  // namespace phalanx
