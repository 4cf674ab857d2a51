// SPDX-License-Identifier: Apache-2.0
#include "sgd/sgd.hpp"

namespace phalanx {
namespace {

struct Hyper {
  float learning_rate, weight_decay, gradient_scale, momentum;
};

void step(const Hyper& h, float* w, const float* g, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i)
    w[i] -= h.learning_rate * (g[i] * h.gradient_scale + h.weight_decay * w[i]);
}

void step_with_momentum(const Hyper& h, bool nesterov, float* w, const float* g, float* v,
                        std::int64_t count) {
  // u = of_d * d + of_v * v'
  const float of_d = nesterov ? 1.0f : 0.0f, of_v = nesterov ? h.momentum : 1.0f;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float d = g[i] * h.gradient_scale + h.weight_decay * w[i];
    v[i] = h.momentum * v[i] + d;
    w[i] -= h.learning_rate * (of_d * d + of_v * v[i]);
  }
}

}  // namespace

void sgd_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const float* values = in[3].as<float>();
  const Hyper h{values[0], values[1], values[2], values[3]};
  const bool nesterov = ctx.attributes.get_int("nesterov", 0) != 0;
  const std::int64_t count = out[0].numel();
  if (in[2])
    step_with_momentum(h, nesterov, out[0].as<float>(), in[1].as<float>(), out[1].as<float>(),
                       count);
  else
    step(h, out[0].as<float>(), in[1].as<float>(), count);
}

}  // namespace phalanx
