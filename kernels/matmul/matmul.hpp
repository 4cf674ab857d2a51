// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Matrix product over the last two axes; the others are batches that broadcast:
///   y[..., i, j] = sum_k a[..., i, k] b[..., k, j].
///
/// Shapes    a [..., M, K], b [..., K, N], y [..., M, N]. A vector a [K] counts as [1, K], a vector b [K] as [K, 1]; the axis
///           of size 1 that this makes is left out of y.
/// Types     a, b and y share f32 or bf16. Sums are f32.
/// Gradients da = dy b^T, db = a^T dy, summed over the batches that they stretched along.
/// Empty     K == 0: y = 0.
/// Throws    InvalidArgument if K differs, batches do not broadcast, or types do not fit.
/// ONNX      MatMul, opset 13.
extern const OpSpec matmul_op;

/// One matrix product for every batch: what the kernels and the oracle walk over.
struct MatmulSizes {
  Shape batches;  ///< of y
  std::int64_t m, n, k;
  /// The matrix of an operand for batch `batch` of y, counted from 0: broadcast axes stay where they are.
  static std::int64_t matrix_index(const Shape& batches, const Shape& operand_batches,
                                   std::int64_t batch);
  Shape a_batches, b_batches;
};
MatmulSizes matmul_sizes(const Shape& a, const Shape& b);

}  // namespace phalanx
