// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "sgd/sgd.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const bool has_v = !(types[2] == TensorType());
  const bool nesterov = attributes.get_int("nesterov", 0) != 0;
  const double learning_rate = in[3][0], weight_decay = in[3][1], gradient_scale = in[3][2],
               momentum = in[3][3];
  for (std::size_t i = 0; i < in[0].size(); ++i) {
    const double d = in[1][i] * gradient_scale + weight_decay * in[0][i];
    double u = d;
    if (has_v) {
      out[1][i] = momentum * in[2][i] + d;
      u = nesterov ? d + momentum * out[1][i] : out[1][i];
    }
    out[0][i] = in[0][i] - learning_rate * u;
  }
  if (attributes.get_int("copy", 0) != 0) out[2] = out[0];
}

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }

std::vector<TensorType> types(std::int64_t n) { return {f32({n}), f32({n}), f32({n}), f32({4})}; }

const std::vector<Fill> kFill = {Fill::kNormal, Fill::kNormal, Fill::kNormal, Fill::kUnit};

}  // namespace

extern const OpCases sgd_cases;
const OpCases sgd_cases = {
    .op = &sgd_op,
    .reference = reference,
    .cases =
        {
            {.name = "momentum", .inputs = types, .fill = kFill, .benchmark_n = 1 << 22},
            {.name = "nesterov",
             .attributes = {{"nesterov", std::int64_t{1}}},
             .inputs = types,
             .fill = kFill},
            {.name = "momentum, copy in bf16",
             .attributes = {{"copy", std::int64_t{1}}},
             .inputs = types,
             .fill = kFill},
            {.name = "no momentum", .inputs = types, .fill = kFill, .absent = 0b0100},
        },
    .refusals =
        {
            {.name = "gradient of another length",
             .inputs = {f32({3}), f32({4}), f32({3}), f32({4})},
             .message = "input 1 must be f32 [3]"},
            {.name = "momentum of another length",
             .inputs = {f32({3}), f32({3}), f32({2}), f32({4})},
             .message = "input 2 must be f32 [3]"},
            {.name = "bf16 weights",
             .inputs = {{DType::kBf16, Shape{3}}, f32({3}), f32({3}), f32({4})},
             .message = "f32 vector"},
            {.name = "three constants",
             .inputs = {f32({3}), f32({3}), f32({3}), f32({3})},
             .message = "hyper must be f32 [4]"},
            {.name = "nesterov without momentum",
             .attributes = {{"nesterov", std::int64_t{1}}},
             .inputs = {f32({3}), f32({3}), TensorType(), f32({4})},
             .message = "needs a momentum buffer"},
            {.name = "no hyper",
             .inputs = {f32({3}), f32({3}), f32({3})},
             .message = "found 3 inputs"},
        },
    .low_precision = 0,
};

}  // namespace phalanx
