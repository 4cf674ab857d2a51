// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Largest value under a window:  y[n, c, p, q] = max_{r, s} x[n, c, p*stride_h - pad_top +
/// r*dilation_h, ...].
///
/// Shapes    x [N, C, H, W]; y [N, C, P, Q]; saved: argmax [N, C, P, Q], the cell r * S + s of the maximum in its
///           window, u8 if the window has at most 256 cells, else i32. Among equal values the first cell wins.
///           Padding never does.
/// Types     f32 or bf16.
/// Attributes kernel_shape (required), strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], auto_pad =
///           "NOTSET", ceil_mode = 0; see window_2d.
/// Layout    any format; argmax lies in memory as y does.
/// Aliasing  none..
/// Gradients dx is the sum of the dy of the windows whose maximum is there, summed in f32, in the order of the
///           windows.
/// Numbers   a NaN under the window makes y NaN.
/// Empty     N or C of 0: nothing is done. An empty image throws.
/// Throws    InvalidArgument on a rank, type or attribute that does not fit, and if a window holds nothing but
///           padding.
/// ONNX      MaxPool, opset 12, two spatial axes, without the output Indices.
extern const OpSpec max_pool_op;

}  // namespace phalanx
