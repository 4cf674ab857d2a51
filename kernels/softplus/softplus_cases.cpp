// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/cases.hpp"
#include "softplus/softplus.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  std::ranges::transform(in[0], out[0].begin(), [](double x) { return std::log1p(std::exp(x)); });
}

}  // namespace

extern const OpCases softplus_cases;
const OpCases softplus_cases = {
    .op = &softplus_op,
    .reference = reference,
    .cases =
        {
            {.name = "vector",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n}}};
                 },
             .benchmark_n = 1 << 22},
            {.name = "image",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 32, 5, 3}}};
                 }},
        },
    .refusals = {{.name = "integers", .inputs = {{DType::kI64, Shape{3}}}, .message = "floating"}},
};

}  // namespace phalanx
