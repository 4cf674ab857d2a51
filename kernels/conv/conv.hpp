// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/window.hpp"
#include "op/op.hpp"

namespace phalanx {

/// Convolution over images (a cross-correlation, as everywhere in deep learning):
///   y[n, o, p, q] = f(b[o] + sum_{i, r, s} x[n, g(o) * C/G + i, p*stride_h - pad_top + r*dilation_h,
///   ...] * w[o, i, r, s])
///
/// Shapes    x [N, C, H, W]; w [O, C/G, R, S]; b [O], optional; y [N, O, P, Q]. G = group divides C and O.
/// Types     x, y f32 or bf16; w, b f32, converted and packed once per parameter version. Sums are f32.
/// Attributes strides = [1, 1], pads = [0, 0, 0, 0] (top, left, bottom, right), dilations = [1, 1], group = 1,
///           auto_pad = "NOTSET"; kernel_shape, if given, must be that of w; activation = "" or "relu", which is f: ours, ONNX
///           has none.
/// Layout    on a CPU the kernel asks oneDNN: channel blocks of 16 where they divide C and O; x plain if C <= 4 (the first
///           layer); channels last otherwise. On a GPU channels last, x plain if C <= 4. Any other format works too, more
///           slowly.
/// Aliasing  none.
/// Gradients with an activation of dy * f', which reads y: relu lets through what belongs to y > 0. dx overwrites; dw, db are
///           added to on request, and are f32 whatever x is.
/// Threads   on a CPU forward and dx use OpenMP's threads; dw and db one, so that equal inputs give equal bits whatever their
///           number.
/// Numbers   on a CPU with AVX-512, f32 and windows of 3 x 3 without strides, over 32 channels and more in multiples of 16, go
///           by Winograd's minimal filtering: twice as fast, with sums that err some three times as much as plain ones. y of an
///           image has the same bits in every batch.
/// Kernels   on a GPU implicit matrix products, by tensor cores for bf16 and tf32, and direct sums for groups of few channels;
///           or cuDNN, which serves channels last only: BackendOptions::conv. All sums have an order that the shapes fix.
/// Empty     N == 0: nothing to compute, dw and db become 0 unless they are added to. A size of 0 elsewhere throws.
/// Throws    InvalidArgument on a rank, size, type, attribute or activation that does not fit; Unsupported if oneDNN has no
///           kernel for the type on this processor, or if pixels or weights are 2^31 or more on a GPU.
/// ONNX      Conv, opset 11, two spatial axes.
extern const OpSpec conv_op;

/// What the kernels need of attributes and shapes.
struct ConvSizes {
  std::int64_t n, c, o, group;
  Window2d window;
  bool relu;
};
/// Throws    InvalidArgument.
ConvSizes conv_sizes(const Attributes& attributes, const Shape& x, const Shape& w);

}  // namespace phalanx
