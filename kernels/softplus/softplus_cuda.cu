// SPDX-License-Identifier: Apache-2.0
#include "common/activations.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  activation_forward("softplus_forward", ctx, in, out, Softplus{});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  activation_backward("softplus_backward", ctx, in, out, Softplus{});
}

}  // namespace

extern const DeviceKernels softplus_cuda;
const DeviceKernels softplus_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
