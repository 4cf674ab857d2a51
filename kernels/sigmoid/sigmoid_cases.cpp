// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/cases.hpp"
#include "sigmoid/sigmoid.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  std::ranges::transform(in[0], out[0].begin(), [](double x) { return 1 / (1 + std::exp(-x)); });
}

std::vector<TensorType> vector(std::int64_t n) { return {{DType::kF32, Shape{n}}}; }
std::vector<TensorType> image(std::int64_t n) { return {{DType::kF32, Shape{n, 32, 5, 3}}}; }

}  // namespace

extern const OpCases sigmoid_cases;
const OpCases sigmoid_cases = {
    .op = &sigmoid_op,
    .reference = reference,
    .cases =
        {
            {.name = "vector", .inputs = vector, .benchmark_n = 1 << 22},
            {.name = "image", .inputs = image, .sizes = {0, 1, 3, 17}},
        },
    .refusals =
        {
            {.name = "integers", .inputs = {{DType::kI64, Shape{3}}}, .message = "floating"},
        },
};

}  // namespace phalanx
