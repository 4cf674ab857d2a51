// SPDX-License-Identifier: Apache-2.0
#include "common/softmax.hpp"
#include "softmax/softmax.hpp"

namespace phalanx {

void softmax_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  softmax_forward<false>(in[0], out[0], ctx.attributes.get_int("axis", -1));
}

void softmax_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView &y = in[1], &dy = in[2];
  softmax_backward<false>(y, dy, out[0], ctx.attributes.get_int("axis", -1));
}

}  // namespace phalanx
