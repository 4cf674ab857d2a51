// SPDX-License-Identifier: Apache-2.0
#include "common/optimizer_step.hpp"

namespace phalanx {
namespace {

struct Step {
  bool decoupled;
  float gradient_scale, decay_of_g, keep_of_w, beta1, beta2, epsilon, step, root_scale;

  __device__ Step with_constants(const float* hyper) const {
    float c[8];
    load(hyper, c);
    const float learning_rate = c[0], weight_decay = c[1];
    return {.decoupled = decoupled,
            .gradient_scale = c[2],
            .decay_of_g = decoupled ? 0.0f : weight_decay,
            .keep_of_w = decoupled ? 1.0f - learning_rate * weight_decay : 1.0f,
            .beta1 = c[3],
            .beta2 = c[4],
            .epsilon = c[5],
            .step = learning_rate / c[6],
            .root_scale = 1.0f / sqrtf(c[7])};
  }
  __device__ float operator()(float w, float g, float* moments) const {
    const float d = g * gradient_scale + decay_of_g * w;
    moments[0] = beta1 * moments[0] + (1.0f - beta1) * d;
    moments[1] = beta2 * moments[1] + (1.0f - beta2) * (d * d);
    return keep_of_w * w - step * (moments[0] / (sqrtf(moments[1]) * root_scale + epsilon));
  }
};

void forward(OpContext& ctx, Inputs in, Outputs out) {
  const OptimizerSlices<2> slices{.w = out[0].as<float>(),
                                  .g = in[1].as<float>(),
                                  .state = {out[1].as<float>(), out[2].as<float>()},
                                  .copy = out.size() > 3 ? out[3].as<__nv_bfloat16>() : nullptr,
                                  .hyper = in[4].as<float>(),
                                  .count = out[0].numel()};
  launch_optimizer_step("adam_forward", ctx, slices,
                        Step{.decoupled = ctx.attributes.get_int("decoupled", 0) != 0});
}

}  // namespace

extern const DeviceKernels adam_cuda;
const DeviceKernels adam_cuda = {.forward = forward};

}  // namespace phalanx
