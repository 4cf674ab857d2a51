// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "adam/adam.hpp"

namespace phalanx {
namespace {

struct Hyper {
  float learning_rate, weight_decay, gradient_scale, beta1, beta2, epsilon, bias_correction1,
      bias_correction2;
};

}  // namespace

void adam_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const float* c = in[4].as<float>();
  const Hyper h{c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]};
  const bool decoupled = ctx.attributes.get_int("decoupled", 0) != 0;
  const float decay_of_g = decoupled ? 0.0f : h.weight_decay;
  const float keep_of_w = decoupled ? 1.0f - h.learning_rate * h.weight_decay : 1.0f;
  const float step = h.learning_rate / h.bias_correction1;
  const float root_scale = 1.0f / std::sqrt(h.bias_correction2);
  float *w = out[0].as<float>(), *m = out[1].as<float>(), *v = out[2].as<float>();
  const float* g = in[1].as<float>();
  const std::int64_t count = out[0].numel();
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float d = g[i] * h.gradient_scale + decay_of_g * w[i];
    m[i] = h.beta1 * m[i] + (1.0f - h.beta1) * d;
    v[i] = h.beta2 * v[i] + (1.0f - h.beta2) * (d * d);
    w[i] = keep_of_w * w[i] - step * (m[i] / (std::sqrt(v[i]) * root_scale + h.epsilon));
  }
}

}  // namespace phalanx
