// SPDX-License-Identifier: Apache-2.0
#include "common/math.hpp"
#include "common/unary.hpp"
#include "tanh/tanh.hpp"

namespace phalanx {

void tanh_forward_cpu(OpContext&, Inputs in, Outputs out) {
  unary_forward(in, out, [](float x) { return math::tanh(x); });
}

void tanh_backward_cpu(OpContext&, Inputs in, Outputs out) {
  const ConstTensorView &y = in[1], &dy = in[2];
  unary_backward(y, dy, out[0], [](float v) { return 1.0f - v * v; });
}

}  // namespace phalanx
