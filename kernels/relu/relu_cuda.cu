// SPDX-License-Identifier: Apache-2.0
#include "common/activations.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  activation_forward("relu_forward", ctx, in, out, Relu{});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  activation_backward("relu_backward", ctx, in, out, Relu{});
}

}  // namespace

extern const DeviceKernels relu_cuda;
const DeviceKernels relu_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
