// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/cases.hpp"
#include "log_softmax/log_softmax.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const Shape& shape = types[0].shape;
  const int axis = shape.normalised_axis(attributes.get_int("axis", -1));
  const std::int64_t size = shape[axis], inner = shape.product(axis + 1, shape.rank());
  const std::vector<double>& x = in[0];
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    const std::int64_t first = i / (size * inner) * (size * inner) + i % inner;
    double largest = x[first], sum = 0;
    for (std::int64_t k = 0; k < size; ++k) largest = std::max(largest, x[first + k * inner]);
    for (std::int64_t k = 0; k < size; ++k) sum += std::exp(x[first + k * inner] - largest);
    out[0][i] = x[i] - largest - std::log(sum);
  }
}

}  // namespace

extern const OpCases log_softmax_cases;
const OpCases log_softmax_cases = {
    .op = &log_softmax_op,
    .reference = reference,
    .cases =
        {
            {.name = "rows of ten",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 10}}};
                 }},
            {.name = "long rows",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{5, n}}};
                 },
             .benchmark_n = 1 << 16,
             .sizes = {0, 1, 31, 32, 33, 300}},
            {.name = "first axis",
             .attributes = {{"axis", std::int64_t{0}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{7, n}}};
                 }},
            {.name = "middle axis",
             .attributes = {{"axis", std::int64_t{-2}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{2, n, 3}}};
                 },
             .sizes = {0, 1, 31, 33, 300}},
        },
    .refusals =
        {
            {.name = "no such axis",
             .attributes = {{"axis", std::int64_t{2}}},
             .inputs = {{DType::kF32, Shape{3, 4}}},
             .message = "axis 2 does not exist"},
            {.name = "a scalar",
             .inputs = {{DType::kF32, Shape{}}},
             .message = "axis -1 does not exist"},
            {.name = "integers", .inputs = {{DType::kI64, Shape{3, 4}}}, .message = "floating"},
        },
};

}  // namespace phalanx
