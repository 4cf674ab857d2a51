// SPDX-License-Identifier: Apache-2.0
#include "common/device_copy.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) { copy_on_device(ctx, in[0], out[0]); }
void backward(OpContext& ctx, Inputs in, Outputs out) { copy_on_device(ctx, in[2], out[0]); }

}  // namespace

extern const DeviceKernels all_reduce_cuda;
const DeviceKernels all_reduce_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
