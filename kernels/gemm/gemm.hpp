// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// General matrix product:  y = alpha * A' B' + beta * c,  A' = a or its transpose, B' = b or its transpose.
///
/// Shapes    A' [M, K], B' [K, N], y [M, N]; c is absent or broadcasts to [M, N]: [N], [1, N], [M, 1], [M, N], [1] or [].
///           A dense layer is a = x [M, K], b = weights [N, K] with transB = 1, c = bias [N].
/// Types     a, b and y share f32 or bf16; c is f32. Sums are f32.
/// Attributes alpha = 1, beta = 1, transA = 0, transB = 0.
/// Gradients da = alpha * dy B'^T, db = alpha * A'^T dy, dc = beta * dy summed over the axes that c stretched along.
/// Empty     M, N or K of 0: y = beta * c, no product.
/// Throws    InvalidArgument if ranks, types or sizes do not fit.
/// ONNX      Gemm, opset 13.
extern const OpSpec gemm_op;

/// M, N, K and strides of one product, for the kernels.
struct GemmSizes {
  std::int64_t m, n, k;
  bool trans_a, trans_b;
  float alpha, beta;
};
GemmSizes gemm_sizes(const Attributes& attributes, const Shape& a, const Shape& b);

}  // namespace phalanx
