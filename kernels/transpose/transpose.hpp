// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Permutes axes:  y[i_perm[0], ..., i_perm[k]] = x[i_0, ..., i_k]; axis a of y is axis perm[a] of x.
///
/// Shapes    x of any rank; y has its sizes permuted. Plain memory.
/// Types     f32 or bf16.
/// Attributes perm: a permutation of the axes; by default they are reversed.
/// Gradients dx = dy with the inverse permutation.
/// Empty     nothing is done.
/// Throws    InvalidArgument if perm is no permutation of the axes of x.
/// ONNX      Transpose, opset 13.
extern const OpSpec transpose_op;

/// The permutation that the attributes mean for a rank.
/// Throws    InvalidArgument if it is none.
Ints transpose_permutation(const Attributes& attributes, int rank);

}  // namespace phalanx
