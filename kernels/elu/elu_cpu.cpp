// SPDX-License-Identifier: Apache-2.0
#include "common/math.hpp"
#include "common/unary.hpp"
#include "elu/elu.hpp"

namespace phalanx {

void elu_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const auto alpha = static_cast<float>(ctx.attributes.get_float("alpha", 1));
  unary_forward(in, out, [alpha](float x) {
    return x > 0.0f ? x : alpha * math::expm1(x > 0.0f ? 0.0f : x);
  });
}

void elu_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const auto alpha = static_cast<float>(ctx.attributes.get_float("alpha", 1));
  const ConstTensorView &y = in[1], &dy = in[2];
  unary_backward(y, dy, out[0], [alpha](float v) { return v > 0.0f ? 1.0f : v + alpha; });
}

}  // namespace phalanx
