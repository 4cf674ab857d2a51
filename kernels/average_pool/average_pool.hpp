// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Mean under a window:  y[n, c, p, q] = 1/k * sum_{r, s} x[n, c, p*stride_h - pad_top +
/// r*dilation_h, ...].
///
/// Shapes    x [N, C, H, W]; y [N, C, P, Q]. k is the number of cells of the window that lie in the image, or, with
///           count_include_pad = 1, in the image and its padding.
/// Types     f32 or bf16; sums are f32.
/// Attributes kernel_shape (required), strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], auto_pad =
///           "NOTSET", ceil_mode = 0, count_include_pad = 0; see window_2d.
/// Layout    any format.
/// Aliasing  none.
/// Gradients dx is the sum over the windows of dy / k, in f32, in the order of the windows.
/// Empty     N or C of 0: nothing is done. An empty image throws.
/// Throws    InvalidArgument on a rank, type or attribute that does not fit, and if a window holds nothing but
///           padding.
/// ONNX      AveragePool, opset 19, two spatial axes.
extern const OpSpec average_pool_op;

}  // namespace phalanx
