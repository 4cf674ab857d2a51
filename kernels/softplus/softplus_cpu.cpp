// SPDX-License-Identifier: Apache-2.0
#include "common/math.hpp"
#include "common/unary.hpp"
#include "softplus/softplus.hpp"

namespace phalanx {

void softplus_forward_cpu(OpContext&, Inputs in, Outputs out) {
  unary_forward(in, out, [](float x) { return math::softplus(x); });
}

void softplus_backward_cpu(OpContext&, Inputs in, Outputs out) {
  const ConstTensorView &y = in[1], &dy = in[2];
  unary_backward(y, dy, out[0], [](float v) { return -math::expm1(-v); });
}

}  // namespace phalanx
