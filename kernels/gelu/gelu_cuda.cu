// SPDX-License-Identifier: Apache-2.0
#include "common/activations.hpp"

namespace phalanx {
namespace {

bool by_tanh(const OpContext& ctx) {
  return ctx.attributes.get_string("approximate", "none") == "tanh";
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  if (by_tanh(ctx))
    activation_forward("gelu_forward_by_tanh", ctx, in, out, GeluByTanh{});
  else
    activation_forward("gelu_forward", ctx, in, out, Gelu{});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  if (by_tanh(ctx))
    activation_backward("gelu_backward_by_tanh", ctx, in, out, GeluByTanh{});
  else
    activation_backward("gelu_backward", ctx, in, out, Gelu{});
}

}  // namespace

extern const DeviceKernels gelu_cuda;
const DeviceKernels gelu_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
