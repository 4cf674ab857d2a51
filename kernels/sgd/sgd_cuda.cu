// SPDX-License-Identifier: Apache-2.0
#include "common/optimizer_step.hpp"

namespace phalanx {
namespace {

template <int kStates>
struct Step {
  bool nesterov;
  float learning_rate, weight_decay, gradient_scale, momentum;

  __device__ Step with_constants(const float* hyper) const {
    float c[4];
    load(hyper, c);
    return {nesterov, c[0], c[1], c[2], c[3]};
  }
  __device__ float operator()(float w, float g, float* v) const {
    const float d = g * gradient_scale + weight_decay * w;
    if constexpr (kStates == 0) return w - learning_rate * d;
    v[0] = momentum * v[0] + d;
    return w - learning_rate * (nesterov ? d + momentum * v[0] : v[0]);
  }
};

void forward(OpContext& ctx, Inputs in, Outputs out) {
  auto* w = out[0].as<float>();
  auto* v = out[1].as<float>();
  auto* copy = out.size() > 2 ? out[2].as<__nv_bfloat16>() : nullptr;
  const auto *g = in[1].as<float>(), *hyper = in[3].as<float>();
  const bool nesterov = ctx.attributes.get_int("nesterov", 0) != 0;
  if (v == nullptr)
    launch_optimizer_step<0>("sgd_forward_plain", ctx, {w, g, {}, copy, hyper, out[0].numel()},
                             Step<0>{});
  else
    launch_optimizer_step<1>("sgd_forward", ctx, {w, g, {v}, copy, hyper, out[0].numel()},
                             Step<1>{.nesterov = nesterov});
}

}  // namespace

extern const DeviceKernels sgd_cuda;
const DeviceKernels sgd_cuda = {.forward = forward};

}  // namespace phalanx
