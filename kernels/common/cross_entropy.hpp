// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cmath>

#include "common/cross_entropy_scale.hpp"
#include "common/math.hpp"
#include "common/reduce.hpp"
#include "op/op.hpp"

namespace phalanx {

/// What every cross-entropy of a softmax over x [N, C] asks of x, of the labels and of `reduction`.
/// Throws    InvalidArgument.
inline void check_cross_entropy(std::string_view op, const Attributes& attributes,
                                const TensorType& x, const TensorType& label) {
  if (x.shape.rank() != 2 || x.shape[1] == 0 || x.dtype != DType::kF32)
    throw InvalidArgument(
        fmt::format("{}: x must be f32 [N, C] with C > 0, found {}", op, x.str()));
  if (label.dtype != DType::kI64 || !(label.shape == Shape{x.shape[0]}))
    throw InvalidArgument(
        fmt::format("{}: labels must be i64 [{}], found {}", op, x.shape[0], label.str()));
  const auto reduction = attributes.get_string("reduction", "sum");
  if (reduction != "sum" && reduction != "mean")
    throw InvalidArgument(
        fmt::format("{}: reduction must be sum or mean, found '{}'", op, reduction));
}

/// The logarithm of the sum of e^x over one row.
inline float log_sum_of(const float* row, std::int64_t classes) {
  const float largest = largest_of(classes, [row](std::int64_t c) { return row[c]; });
  const float sum = sum_of(classes, [=](std::int64_t c) { return math::exp(row[c] - largest); });
  return largest + std::log(sum);
}

/// dx = dloss * (softmax(row) - onehot(label)); dx may be the row.
inline void cross_entropy_gradient(const float* row, std::int64_t classes, float log_sum,
                                   std::int64_t label, float dloss, float* dx) {
#pragma GCC ivdep
  for (std::int64_t c = 0; c < classes; ++c) dx[c] = dloss * math::exp(row[c] - log_sum);
  dx[label] -= dloss;
}

}  // namespace phalanx
