// SPDX-License-Identifier: Apache-2.0
#include "common/unary.hpp"
#include "leaky_relu/leaky_relu.hpp"

namespace phalanx {

void leaky_relu_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const auto alpha = static_cast<float>(ctx.attributes.get_float("alpha", 0.01));
  unary_forward(in, out, [alpha](float x) { return x > 0.0f ? x : alpha * x; });
}

void leaky_relu_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const auto alpha = static_cast<float>(ctx.attributes.get_float("alpha", 0.01));
  const ConstTensorView &y = in[1], &dy = in[2];
  unary_backward(y, dy, out[0], [alpha](float v) { return v > 0.0f ? 1.0f : alpha; });
}

}  // namespace phalanx
