// SPDX-License-Identifier: Apache-2.0
#include "common/cross_entropy.hpp"
#include "softmax_cross_entropy/softmax_cross_entropy.hpp"

namespace phalanx {

void softmax_cross_entropy_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const std::int64_t rows = in[0].shape()[0], classes = in[0].shape()[1];
  const auto* x = in[0].as<float>();  // [N, C]
  const auto* label = in[1].as<std::int64_t>();
  auto* log_sum = out[1].as<float>();
  double loss = 0;
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = x + n * classes;
    log_sum[n] = log_sum_of(row, classes);
    loss += static_cast<double>(log_sum[n]) - static_cast<double>(row[label[n]]);
  }
  const auto scale = static_cast<double>(cross_entropy_scale(ctx.attributes, rows));
  *out[0].as<float>() = static_cast<float>(loss * scale);
}

void softmax_cross_entropy_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const std::int64_t rows = in[0].shape()[0], classes = in[0].shape()[1];
  const auto* x = in[0].as<float>();
  const auto* label = in[1].as<std::int64_t>();
  const auto* log_sum = in[3].as<float>();
  const float dloss = *in[4].as<float>() * cross_entropy_scale(ctx.attributes, rows);
  auto* dx = out[0].as<float>();
  for (std::int64_t n = 0; n < rows; ++n)
    cross_entropy_gradient(x + n * classes, classes, log_sum[n], label[n], dloss, dx + n * classes);
}

}  // namespace phalanx
