// SPDX-License-Identifier: Apache-2.0
#include "common/activations.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  activation_forward("elu_forward", ctx, in, out, Elu{alpha_of(ctx, 1)});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  activation_backward("elu_backward", ctx, in, out, Elu{alpha_of(ctx, 1)});
}

}  // namespace

extern const DeviceKernels elu_cuda;
const DeviceKernels elu_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
