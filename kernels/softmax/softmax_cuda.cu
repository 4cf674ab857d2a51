// SPDX-License-Identifier: Apache-2.0
#include "common/softmax_cuda.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  softmax_forward_on_device<false>("softmax_forward", ctx, in[0], out[0]);
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView &y = in[1], &dy = in[2];
  softmax_backward_on_device<false>("softmax_backward", ctx, y, dy, out[0]);
}

}  // namespace

extern const DeviceKernels softmax_cuda;
const DeviceKernels softmax_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
