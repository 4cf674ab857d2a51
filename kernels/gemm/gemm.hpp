// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// General matrix product:  y = f(alpha * A' B' + beta * c),  A' = a or its transpose, B' = b or its transpose.
///
/// Shapes    A' [M, K], B' [K, N], y [M, N]; c is absent or broadcasts to [M, N]: [N], [1, N], [M, 1], [M, N], [1] or [].
///           A dense layer is a = x [M, K], b = weights [N, K] with transB = 1, c = bias [N].
/// Types     a, b and y share f32 or bf16; c is f32. Sums are f32; on a GPU f32 factors may count as tf32
///           (BackendOptions::tf32).
/// Attributes alpha = 1, beta = 1, transA = 0, transB = 0; activation = "" or "relu", which is f: ours, ONNX has none.
/// Gradients da = alpha * g B'^T, db = alpha * A'^T g, dc = beta * g summed over the axes c stretched along, where g is dy,
///           with an activation dy * f'. That reads y: relu lets through what belongs to y > 0.
/// Numbers   relu keeps NaN. cuBLASLt, which BackendOptions::gemm may choose on a GPU, adds c rounded to the type of y.
/// Empty     M, N or K of 0: y = f(beta * c), no product.
/// Throws    InvalidArgument if ranks, types or sizes do not fit, or for another activation.
/// ONNX      Gemm, opset 13.
extern const OpSpec gemm_op;

/// M, N, K and strides of one product, for the kernels.
struct GemmSizes {
  std::int64_t m, n, k;
  bool trans_a, trans_b;
  float alpha, beta;
  bool relu;
};
GemmSizes gemm_sizes(const Attributes& attributes, const Shape& a, const Shape& b);

/// How c lies over [M, N]: its element (i, j) is c[i * row + j * column].
struct GemmStrides {
  std::int64_t row = 0, column = 0;
};
GemmStrides gemm_strides_of_c(const Shape& c, std::int64_t m, std::int64_t n);

}  // namespace phalanx
