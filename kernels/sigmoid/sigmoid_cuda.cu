// SPDX-License-Identifier: Apache-2.0
#include "common/activations.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  activation_forward("sigmoid_forward", ctx, in, out, Sigmoid{});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  activation_backward("sigmoid_backward", ctx, in, out, Sigmoid{});
}

}  // namespace

extern const DeviceKernels sigmoid_cuda;
const DeviceKernels sigmoid_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
