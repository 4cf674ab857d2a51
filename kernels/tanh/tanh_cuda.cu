// SPDX-License-Identifier: Apache-2.0
#include "common/activations.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  activation_forward("tanh_forward", ctx, in, out, Tanh{});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  activation_backward("tanh_backward", ctx, in, out, Tanh{});
}

}  // namespace

extern const DeviceKernels tanh_cuda;
const DeviceKernels tanh_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
