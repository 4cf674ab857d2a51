// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/math.hpp"
#include "common/reduce.hpp"
#include "softmax_cross_entropy/softmax_cross_entropy.hpp"

namespace phalanx {
namespace {

float scale(const Attributes& attributes, std::int64_t rows) {
  return attributes.get_string("reduction", "sum") == "mean" && rows > 0
             ? 1.0f / static_cast<float>(rows)
             : 1.0f;
}

}  // namespace

void softmax_cross_entropy_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const std::int64_t rows = in[0].shape()[0], classes = in[0].shape()[1];
  const auto* x = in[0].as<float>();  // [N, C]
  const auto* label = in[1].as<std::int64_t>();
  auto* log_sum = out[1].as<float>();
  double loss = 0;
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = x + n * classes;
    const float largest = largest_of(classes, [row](std::int64_t c) { return row[c]; });
    const float sum = sum_of(classes, [=](std::int64_t c) { return math::exp(row[c] - largest); });
    log_sum[n] = largest + std::log(sum);
    loss += static_cast<double>(log_sum[n]) - static_cast<double>(row[label[n]]);
  }
  *out[0].as<float>() = static_cast<float>(loss * static_cast<double>(scale(ctx.attributes, rows)));
}

void softmax_cross_entropy_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const std::int64_t rows = in[0].shape()[0], classes = in[0].shape()[1];
  const auto* x = in[0].as<float>();
  const auto* label = in[1].as<std::int64_t>();
  const auto* log_sum = in[3].as<float>();
  const float dloss = *in[4].as<float>() * scale(ctx.attributes, rows);
  auto* dx = out[0].as<float>();
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = x + n * classes;
    float* to = dx + n * classes;
    const float shift = log_sum[n];
#pragma GCC ivdep
    for (std::int64_t c = 0; c < classes; ++c) to[c] = dloss * math::exp(row[c] - shift);
    to[label[n]] -= dloss;
  }
}

}  // namespace phalanx
