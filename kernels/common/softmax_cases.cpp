// SPDX-License-Identifier: Apache-2.0
#include "common/softmax_cases.hpp"

#include <algorithm>
#include <cmath>

namespace phalanx {

template <bool kLog>
void softmax_reference(const Attributes& attributes, Types types, OpCases::Vectors in,
                       OpCases::Vectors out) {
  const Shape& shape = types[0].shape;
  const int axis = shape.normalised_axis(attributes.get_int("axis", -1));
  const std::int64_t size = shape[axis], inner = shape.product(axis + 1, shape.rank());
  const std::vector<double>& x = in[0];
  for (std::int64_t row = 0; row < shape.numel() / std::max<std::int64_t>(size, 1); ++row) {
    const std::int64_t first = row / inner * size * inner + row % inner;
    double largest = x[first], sum = 0;
    for (std::int64_t k = 0; k < size; ++k) largest = std::max(largest, x[first + k * inner]);
    for (std::int64_t k = 0; k < size; ++k) sum += std::exp(x[first + k * inner] - largest);
    for (std::int64_t i = first; i < first + size * inner; i += inner)
      out[0][i] = kLog ? x[i] - largest - std::log(sum) : std::exp(x[i] - largest) / sum;
  }
}

template void softmax_reference<false>(const Attributes&, Types, OpCases::Vectors,
                                       OpCases::Vectors);
template void softmax_reference<true>(const Attributes&, Types, OpCases::Vectors, OpCases::Vectors);

std::vector<OpCases::Case> softmax_cases_over_axes() {
  return {
      {.name = "rows of ten",
       .inputs =
           [](std::int64_t n) {
             return std::vector{TensorType{DType::kF32, Shape{n, 10}}};
           }},
      {.name = "rows of 1024",
       .inputs =
           [](std::int64_t n) {
             return std::vector{TensorType{DType::kF32, Shape{n, 1024}}};
           },
       .benchmark_n = 512,
       .sizes = {2}},
      {.name = "long rows",
       .inputs =
           [](std::int64_t n) {
             return std::vector{TensorType{DType::kF32, Shape{5, n}}};
           },
       .benchmark_n = 1 << 16,
       .sizes = {0, 1, 31, 32, 33, 300}},
      {.name = "rows for a warp, a block, and neither",
       .inputs =
           [](std::int64_t n) {
             return std::vector{TensorType{DType::kF32, Shape{2, n}}};
           },
       .sizes = {200, 512, 1025, 2048, 8200, 17001}},
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
  };
}

std::vector<OpCases::Refusal> softmax_refusals() {
  return {
      {.name = "no such axis",
       .attributes = {{"axis", std::int64_t{2}}},
       .inputs = {{DType::kF32, Shape{3, 4}}},
       .message = "axis 2 does not exist"},
      {.name = "a scalar", .inputs = {{DType::kF32, Shape{}}}, .message = "axis -1 does not exist"},
      {.name = "integers", .inputs = {{DType::kI64, Shape{3, 4}}}, .message = "floating"},
  };
}

}  // namespace phalanx
