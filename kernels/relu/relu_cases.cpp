// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/cases.hpp"
#include "relu/relu.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  std::ranges::transform(in[0], out[0].begin(), [](double x) { return std::max(x, 0.0); });
}

}  // namespace

extern const OpCases relu_cases;
const OpCases relu_cases = {
    .op = &relu_op,
    .reference = reference,
    .cases =
        {
            {.name = "vector",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n}}};
                 },
             .fill = {Fill::kAwayFromZero},
             .benchmark_n = 1 << 22},
            {.name = "image",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 32, 5, 3}}};
                 },
             .fill = {Fill::kAwayFromZero}},
        },
    .refusals = {{.name = "integers", .inputs = {{DType::kI64, Shape{3}}}, .message = "floating"}},
};

}  // namespace phalanx
