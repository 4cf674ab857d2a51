// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "adam/adam.hpp"
#include "common/optimizer.hpp"

namespace phalanx {

void adam_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const float* c = in[4].as<float>();
  const float learning_rate = c[0], weight_decay = c[1], gradient_scale = c[2], beta1 = c[3],
              beta2 = c[4], epsilon = c[5], bias_correction1 = c[6], bias_correction2 = c[7];
  if (std::isnan(gradient_scale)) return;
  const bool decoupled = ctx.attributes.get_int("decoupled", 0) != 0;
  const float decay_of_g = decoupled ? 0.0f : weight_decay;
  const float keep_of_w = decoupled ? 1.0f - learning_rate * weight_decay : 1.0f;
  const float step = learning_rate / bias_correction1;
  const float root_scale = 1.0f / std::sqrt(bias_correction2);
  float *w = out[0].as<float>(), *m = out[1].as<float>(), *v = out[2].as<float>();
  const float* g = in[1].as<float>();
  Bf16* copy = out.size() > 3 ? out[3].as<Bf16>() : nullptr;
  for_each_weight(out[0].numel(), w, copy, [=](std::int64_t i) {
    const float d = g[i] * gradient_scale + decay_of_g * w[i];
    m[i] = beta1 * m[i] + (1.0f - beta1) * d;
    v[i] = beta2 * v[i] + (1.0f - beta2) * (d * d);
    return keep_of_w * w[i] - step * (m[i] / (std::sqrt(v[i]) * root_scale + epsilon));
  });
}

}  // namespace phalanx
