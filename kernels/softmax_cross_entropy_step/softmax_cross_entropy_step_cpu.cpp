// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/cross_entropy.hpp"
#include "softmax_cross_entropy_step/softmax_cross_entropy_step.hpp"

namespace phalanx {

void softmax_cross_entropy_step_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const std::int64_t rows = in[0].shape()[0], classes = in[0].shape()[1];
  const auto* x = in[0].as<float>();  // [N, C]
  const auto* label = in[1].as<std::int64_t>();
  const float scale = cross_entropy_scale(ctx.attributes, rows);
  const float dloss = *in[2].as<float>() * scale;
  auto* dx = out[2].as<float>();
  double loss = 0;
  std::int64_t correct = 0;
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = x + n * classes;
    const float log_sum = log_sum_of(row, classes);
    loss += static_cast<double>(log_sum) - static_cast<double>(row[label[n]]);
    correct += std::max_element(row, row + classes) - row == label[n];
    cross_entropy_gradient(row, classes, log_sum, label[n], dloss, dx + n * classes);
  }
  *out[0].as<float>() = static_cast<float>(loss * static_cast<double>(scale));
  *out[1].as<float>() = static_cast<float>(correct);
}

}  // namespace phalanx
