// SPDX-License-Identifier: Apache-2.0
#include "common/loss_cuda.hpp"

namespace phalanx {
namespace {

struct Value {
  __device__ float operator()(float x, float target) const {
    return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))) - x * target;
  }
};
struct Slope {
  __device__ float operator()(float x, float target) const {
    return 1.0f / (1.0f + expf(-x)) - target;
  }
};

void forward(OpContext& ctx, Inputs in, Outputs out) {
  loss_forward_on_device("binary_cross_entropy_forward", ctx, in, out, Value{});
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  loss_backward_on_device("binary_cross_entropy_backward", ctx, in, out, Slope{});
}

}  // namespace

extern const DeviceKernels binary_cross_entropy_cuda;
const DeviceKernels binary_cross_entropy_cuda = {
    .forward = forward, .backward = backward, .prepare_forward = loss_prepare_on_device};

}  // namespace phalanx
