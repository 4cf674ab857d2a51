// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// Softmax and cross-entropy in one pass:  loss = sum_n ( log sum_c exp(x[n, c]) - x[n, label[n]] ).
///
/// Shapes    x [N, C]; label [N]; loss [] (a scalar); saved: log_sum [N], the logarithm of the sum of exponentials.
/// Types     x f32, label i64 in [0, C), loss and log_sum f32; the sum over n is kept in double.
/// Attributes reduction = "sum" ("mean" divides by N).
/// Gradients dx = dloss * (softmax(x) - onehot(label)), divided by N for "mean". Labels have none.
/// Aliasing  none.
/// Empty     N == 0: loss = 0. C == 0 throws.
/// Throws    InvalidArgument on rank, size or type; a label outside [0, C) is the caller's error and is not checked here
///           (data import and loading check it).
/// ONNX      SoftmaxCrossEntropyLoss, opset 13, without weights and ignore_index.
extern const OpSpec softmax_cross_entropy_op;

}  // namespace phalanx
