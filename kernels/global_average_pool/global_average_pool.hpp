// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Mean over an image:  y[n, c] = 1/(H*W) * sum_{h, w} x[n, c, h, w].
///
/// Shapes    x [N, C, H, W]; y [N, C, 1, 1].
/// Types     f32 or bf16; sums are f32.
/// Layout    any format.
/// Aliasing  none.
/// Gradients dx = dy / (H*W) everywhere.
/// Empty     N or C of 0: nothing is done. An empty image throws.
/// Throws    InvalidArgument on a rank or type that does not fit.
/// ONNX      GlobalAveragePool, opset 1, two spatial axes.
extern const OpSpec global_average_pool_op;

}  // namespace phalanx
