// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/optimizer.hpp"
#include "sgd/sgd.hpp"

namespace phalanx {

void sgd_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const float* c = in[3].as<float>();
  const float learning_rate = c[0], weight_decay = c[1], gradient_scale = c[2], momentum = c[3];
  if (std::isnan(gradient_scale)) return;
  float *w = out[0].as<float>(), *v = out[1].as<float>();
  const float* g = in[1].as<float>();
  Bf16* copy = out.size() > 2 ? out[2].as<Bf16>() : nullptr;
  const auto gradient = [=](std::int64_t i) { return g[i] * gradient_scale + weight_decay * w[i]; };
  if (v == nullptr) {
    for_each_weight(out[0].numel(), w, copy,
                    [=](std::int64_t i) { return w[i] - learning_rate * gradient(i); });
    return;
  }
  // u = of_d * d + of_v * v'
  const bool nesterov = ctx.attributes.get_int("nesterov", 0) != 0;
  const float of_d = nesterov ? 1.0f : 0.0f, of_v = nesterov ? momentum : 1.0f;
  for_each_weight(out[0].numel(), w, copy, [=](std::int64_t i) {
    const float d = gradient(i);
    v[i] = momentum * v[i] + d;
    return w[i] - learning_rate * (of_d * d + of_v * v[i]);
  });
}

}  // namespace phalanx
