// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/unary_cases.hpp"
#include "gelu/gelu.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types, OpCases::Vectors in, OpCases::Vectors out) {
  if (attributes.get_string("approximate", "none") == "tanh")
    std::ranges::transform(in[0], out[0].begin(), [](double x) {
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    });
  else
    std::ranges::transform(in[0], out[0].begin(),
                           [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); });
}

}  // namespace

extern const OpCases gelu_cases;
const OpCases gelu_cases = {
    .op = &gelu_op,
    .reference = reference,
    .cases =
        {
            {.name = "exact", .inputs = unary_vector, .benchmark_n = 1 << 22},
            {.name = "by tanh",
             .attributes = {{"approximate", std::string("tanh")}},
             .inputs = unary_vector,
             .benchmark_n = 1 << 22},
            {.name = "image", .inputs = unary_image, .sizes = {0, 1, 3, 17}},
        },
    .refusals = unary_refusals({
        {.name = "another approximation",
         .attributes = {{"approximate", std::string("sigmoid")}},
         .inputs = {{DType::kF32, Shape{3}}},
         .message = "none or tanh, found 'sigmoid'"},
    }),
};

}  // namespace phalanx
