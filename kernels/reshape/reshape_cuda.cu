// SPDX-License-Identifier: Apache-2.0
#include "common/device_copy.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) { copy_on_device(ctx, in[0], out[0]); }
void backward(OpContext& ctx, Inputs in, Outputs out) { copy_on_device(ctx, in[2], out[0]); }

}  // namespace

extern const DeviceKernels reshape_cuda;
const DeviceKernels reshape_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
