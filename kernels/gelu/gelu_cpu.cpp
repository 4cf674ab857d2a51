// SPDX-License-Identifier: Apache-2.0
#include "common/math.hpp"
#include "common/unary.hpp"
#include "gelu/gelu.hpp"

namespace phalanx {
namespace {

constexpr float kCubic = 0.044715f, kRootTwoByPi = 0.797884561f, kRootHalf = 0.707106781f;
constexpr float kDensityAtZero = 0.398942280f;  // 1 / sqrt(2 pi)

bool by_tanh(const OpContext& ctx) {
  return ctx.attributes.get_string("approximate", "none") == "tanh";
}

float tanh_form(float x) { return math::tanh(kRootTwoByPi * (x + kCubic * x * x * x)); }

float phi_integral(float x) { return 0.5f * (1.0f + math::erf(kRootHalf * x)); }

}  // namespace

void gelu_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  if (by_tanh(ctx))
    unary_forward(in, out, [](float x) { return 0.5f * x * (1.0f + tanh_form(x)); });
  else
    unary_forward(in, out, [](float x) { return x * phi_integral(x); });
}

void gelu_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView &x = in[0], &dy = in[2];
  if (by_tanh(ctx))
    unary_backward(x, dy, out[0], [](float v) {
      const float t = tanh_form(v);
      return 0.5f * (1.0f + t) +
             0.5f * v * (1.0f - t * t) * kRootTwoByPi * (1.0f + 3.0f * kCubic * v * v);
    });
  else
    unary_backward(x, dy, out[0], [](float v) {
      return phi_integral(v) + v * kDensityAtZero * math::exp(-0.5f * v * v);
    });
}

}  // namespace phalanx
