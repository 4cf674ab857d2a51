// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "adam/adam.hpp"
#include "common/cases.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types, OpCases::Vectors in, OpCases::Vectors out) {
  const std::vector<double>& h = in[4];
  const double learning_rate = h[0], weight_decay = h[1], gradient_scale = h[2], beta1 = h[3],
               beta2 = h[4];
  const double epsilon = h[5], correction1 = h[6], correction2 = h[7];
  const bool decoupled = attributes.get_int("decoupled", 0) != 0;
  for (std::size_t i = 0; i < in[0].size(); ++i) {
    double w = in[0][i], d = gradient_scale * in[1][i];
    if (decoupled)
      w -= learning_rate * weight_decay * w;
    else
      d += weight_decay * w;
    out[1][i] = beta1 * in[2][i] + (1 - beta1) * d;
    out[2][i] = beta2 * in[3][i] + (1 - beta2) * d * d;
    out[0][i] = w - learning_rate / correction1 * out[1][i] /
                        (std::sqrt(out[2][i] / correction2) + epsilon);
  }
  if (attributes.get_int("copy", 0) != 0) out[3] = out[0];
}

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }

std::vector<TensorType> types(std::int64_t n) {
  return {f32({n}), f32({n}), f32({n}), f32({n}), f32({8})};
}

const std::vector<Fill> kFill = {Fill::kNormal, Fill::kNormal, Fill::kNormal, Fill::kUnit,
                                 Fill::kUnit};

}  // namespace

extern const OpCases adam_cases;
const OpCases adam_cases = {
    .op = &adam_op,
    .reference = reference,
    .cases =
        {
            {.name = "decay in the gradient",
             .inputs = types,
             .fill = kFill,
             .benchmark_n = 1 << 22},
            {.name = "decoupled decay",
             .attributes = {{"decoupled", std::int64_t{1}}},
             .inputs = types,
             .fill = kFill},
            {.name = "decoupled decay, copy in bf16",
             .attributes = {{"decoupled", std::int64_t{1}}, {"copy", std::int64_t{1}}},
             .inputs = types,
             .fill = kFill},
        },
    .refusals =
        {
            {.name = "variance of another length",
             .inputs = {f32({3}), f32({3}), f32({3}), f32({4}), f32({8})},
             .message = "input 3 must be f32 [3]"},
            {.name = "a scalar",
             .inputs = {f32({}), f32({}), f32({}), f32({}), f32({8})},
             .message = "f32 vector"},
            {.name = "seven constants",
             .inputs = {f32({3}), f32({3}), f32({3}), f32({3}), f32({7})},
             .message = "hyper must be f32 [8]"},
            {.name = "no hyper",
             .inputs = {f32({3}), f32({3}), f32({3}), f32({3})},
             .message = "found 4 inputs"},
        },
    .low_precision = 0,
};

}  // namespace phalanx
