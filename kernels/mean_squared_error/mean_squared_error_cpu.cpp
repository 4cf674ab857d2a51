// SPDX-License-Identifier: Apache-2.0
#include "common/loss.hpp"
#include "mean_squared_error/mean_squared_error.hpp"

namespace phalanx {

void mean_squared_error_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  loss_forward(ctx, in, out, [](float x, float target) { return (x - target) * (x - target); });
}

void mean_squared_error_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  loss_backward(ctx, in, out, [](float x, float target) { return 2.0f * (x - target); });
}

}  // namespace phalanx
