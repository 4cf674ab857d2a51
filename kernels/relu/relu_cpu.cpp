// SPDX-License-Identifier: Apache-2.0
#include "common/unary.hpp"
#include "relu/relu.hpp"

namespace phalanx {

void relu_forward_cpu(OpContext&, Inputs in, Outputs out) {
  unary_forward(in, out, [](float x) { return x < 0.0f ? 0.0f : x; });
}

void relu_backward_cpu(OpContext&, Inputs in, Outputs out) {
  const ConstTensorView &y = in[1], &dy = in[2];
  unary_backward(y, dy, out[0], [](float v) { return v > 0.0f ? 1.0f : 0.0f; });
}

}  // namespace phalanx
