// SPDX-License-Identifier: Apache-2.0
#include "binary_cross_entropy/binary_cross_entropy.hpp"
#include "common/loss.hpp"
#include "common/math.hpp"

namespace phalanx {

void binary_cross_entropy_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  loss_forward(ctx, in, out, [](float x, float target) { return math::softplus(x) - x * target; });
}

void binary_cross_entropy_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  loss_backward(ctx, in, out, [](float x, float target) { return math::sigmoid(x) - target; });
}

}  // namespace phalanx
