// SPDX-License-Identifier: Apache-2.0
#include "common/math.hpp"
#include "common/unary.hpp"
#include "sigmoid/sigmoid.hpp"

namespace phalanx {

void sigmoid_forward_cpu(OpContext&, Inputs in, Outputs out) {
  unary_forward(in, out, [](float x) { return math::sigmoid(x); });
}

void sigmoid_backward_cpu(OpContext&, Inputs in, Outputs out) {
  const ConstTensorView &y = in[1], &dy = in[2];
  unary_backward(y, dy, out[0], [](float v) { return v * (1.0f - v); });
}

}  // namespace phalanx
