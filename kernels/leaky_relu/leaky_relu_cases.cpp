// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/cases.hpp"
#include "leaky_relu/leaky_relu.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types, OpCases::Vectors in, OpCases::Vectors out) {
  const double alpha = attributes.get_float("alpha", 0.01);
  std::ranges::transform(in[0], out[0].begin(),
                         [alpha](double x) { return x > 0 ? x : alpha * x; });
}

std::vector<TensorType> vector(std::int64_t n) { return {{DType::kF32, Shape{n}}}; }
std::vector<TensorType> image(std::int64_t n) { return {{DType::kF32, Shape{n, 32, 5, 3}}}; }

}  // namespace

extern const OpCases leaky_relu_cases;
const OpCases leaky_relu_cases = {
    .op = &leaky_relu_op,
    .reference = reference,
    .cases =
        {
            {.name = "vector",
             .inputs = vector,
             .fill = {Fill::kAwayFromZero},
             .benchmark_n = 1 << 22},
            {.name = "image",
             .attributes = {{"alpha", 0.3}},
             .inputs = image,
             .fill = {Fill::kAwayFromZero},
             .sizes = {0, 1, 3, 17}},
        },
    .refusals =
        {
            {.name = "integers", .inputs = {{DType::kI64, Shape{3}}}, .message = "floating"},
            {.name = "negative slope",
             .attributes = {{"alpha", -0.5}},
             .inputs = {{DType::kF32, Shape{3}}},
             .message = "alpha must not be negative"},
        },
};

}  // namespace phalanx
