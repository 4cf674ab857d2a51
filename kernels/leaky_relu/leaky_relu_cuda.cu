// SPDX-License-Identifier: Apache-2.0
#include "common/activations.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  activation_forward("leaky_relu_forward", ctx, in, out, LeakyRelu{alpha_of(ctx, 0.01)});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  activation_backward("leaky_relu_backward", ctx, in, out, LeakyRelu{alpha_of(ctx, 0.01)});
}

}  // namespace

extern const DeviceKernels leaky_relu_cuda;
const DeviceKernels leaky_relu_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
