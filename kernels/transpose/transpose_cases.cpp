// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "transpose/transpose.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const Shape& x = types[0].shape;
  const Ints perm = transpose_permutation(attributes, x.rank());
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    std::int64_t to = 0;
    for (std::int64_t axis : perm) {  // the index along each axis of y, outermost first
      const auto a = static_cast<int>(axis);
      to = to * x[a] + i / x.product(a + 1, x.rank()) % x[a];
    }
    out[0][static_cast<std::size_t>(to)] = in[0][static_cast<std::size_t>(i)];
  }
}

}  // namespace

extern const OpCases transpose_cases;
const OpCases transpose_cases = {
    .op = &transpose_op,
    .reference = reference,
    .cases =
        {
            {.name = "matrix",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 17}}};
                 },
             .benchmark_n = 4096},
            {.name = "four axes",
             .attributes = {{"perm", Ints{2, 0, 3, 1}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 3, 4, 5}}};
                 }},
            {.name = "even matrices",
             .attributes = {{"perm", Ints{0, 2, 1}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{2, 2 * n, 34}}};
                 }},
            {.name = "groups of four",
             .attributes = {{"perm", Ints{1, 0, 2}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 20, 4}}};
                 }},
            {.name = "heads",
             .attributes = {{"perm", Ints{0, 2, 1, 3}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 3, 4, 24}}};
                 }},
            {.name = "identity",
             .attributes = {{"perm", Ints{0, 1, 2}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{2, n, 3}}};
                 }},
        },
    .refusals =
        {
            {.name = "an axis twice",
             .attributes = {{"perm", Ints{0, 0}}},
             .inputs = {{DType::kF32, Shape{2, 3}}},
             .message = "no permutation of 2 axes"},
            {.name = "too few axes",
             .attributes = {{"perm", Ints{0}}},
             .inputs = {{DType::kF32, Shape{2, 3}}},
             .message = "no permutation"},
        },
};

}  // namespace phalanx
