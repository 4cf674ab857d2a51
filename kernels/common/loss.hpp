// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <algorithm>

#include "common/loss_scale.hpp"
#include "common/reduce.hpp"
#include "op/op.hpp"

namespace phalanx {

/// infer() of a loss that compares x with a target element by element and gives a scalar.
/// Throws    InvalidArgument.
inline std::vector<TensorType> infer_loss(std::string_view op, const Attributes& attributes,
                                          Types in) {
  if (in.size() != 2)
    throw InvalidArgument(fmt::format("{} takes x and target, found {} inputs", op, in.size()));
  const TensorType &x = in[0], &target = in[1];
  if (x.dtype != DType::kF32 || x.shape.rank() == 0)
    throw InvalidArgument(
        fmt::format("{}: x must be f32 of rank 1 or more, found {}", op, x.str()));
  if (!(x == target))
    throw InvalidArgument(
        fmt::format("{}: target must be {}, found {}", op, x.str(), target.str()));
  const std::string_view reduction = attributes.get_string("reduction", "sum");
  if (reduction != "sum" && reduction != "mean" && reduction != "row_mean_sum")
    throw InvalidArgument(
        fmt::format("{}: reduction must be sum, mean or row_mean_sum, found '{}'", op, reduction));
  return {{DType::kF32, Shape{}}};
}

/// loss = scale * sum of value(x, target): chunks in f32, their sum in double.
template <class F>
void loss_forward(OpContext& ctx, Inputs in, Outputs out, F value) {
  constexpr std::int64_t kChunk = 1024;
  const std::int64_t count = in[0].numel();
  double sum = 0;
  for (std::int64_t first = 0; first < count; first += kChunk) {
    const float *x = in[0].as<float>() + first, *target = in[1].as<float>() + first;
    sum += static_cast<double>(sum_of(std::min(kChunk, count - first),
                                      [=](std::int64_t i) { return value(x[i], target[i]); }));
  }
  *out[0].as<float>() = static_cast<float>(sum * loss_scale(ctx.attributes, in[0].shape()));
}

/// dx = dloss * scale * slope(x, target).
template <class F>
void loss_backward(OpContext& ctx, Inputs in, Outputs out, F slope) {
  const std::int64_t count = in[0].numel();
  if (count == 0) return;
  const auto *x = in[0].as<float>(), *target = in[1].as<float>();
  auto* dx = out[0].as<float>();
  const float factor =
      *in[3].as<float>() * static_cast<float>(loss_scale(ctx.attributes, in[0].shape()));
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) dx[i] = factor * slope(x[i], target[i]);
}

}  // namespace phalanx
