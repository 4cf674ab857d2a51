// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "gemm/gemm.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const GemmSizes s = gemm_sizes(attributes, types[0].shape, types[1].shape);
  for (std::int64_t i = 0; i < s.m; ++i)
    for (std::int64_t j = 0; j < s.n; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < s.k; ++k)
        sum += in[0][s.trans_a ? k * s.m + i : i * s.k + k] *
               in[1][s.trans_b ? j * s.k + k : k * s.n + j];
      double c = 0;
      if (in.size() == 3 && !in[2].empty()) {
        const Shape& shape = types[2].shape;
        const std::int64_t row = shape.rank() == 2 && shape[0] > 1 ? i : 0;
        const std::int64_t column = shape.rank() >= 1 && shape[-1] > 1 ? j : 0;
        c = in[2][row * (shape.rank() >= 1 ? shape[-1] : 1) + column];
      }
      const double y = attributes.get_float("alpha", 1) * sum + attributes.get_float("beta", 1) * c;
      out[0][i * s.n + j] = attributes.get_string("activation", "") == "relu" && y < 0 ? 0 : y;
    }
}

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }

}  // namespace

extern const OpCases gemm_cases;
const OpCases gemm_cases =
    {
        .op = &gemm_op,
        .reference = reference,
        .cases =
            {
                {.name = "dense layer",
                 .attributes = {{"transB", std::int64_t{1}}},
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({n, 37}), f32({19, 37}), f32({19})};
                     },
                 .tolerance_f32 = 4e-6},
                {.name = "dense layer 512 by 512",
                 .attributes = {{"transB", std::int64_t{1}}},
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({n, 512}), f32({512, 512}), f32({512})};
                     },
                 .benchmark_n = 512,
                 .tolerance_f32 = 1e-5,
                 .sizes = {3}},
                {.name = "dense layer of few rows",
                 .attributes = {{"transB", std::int64_t{1}}, {"alpha", 0.5}},
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({n, 83}), f32({13, 83}), f32({13})};
                     },
                 .tolerance_f32 = 4e-6,
                 .sizes = {1, 2, 5, 8, 9}},
                {.name = "no c",
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({5, n}), f32({n, 7})};
                     },
                 .tolerance_f32 = 1e-5},
                {.name = "both transposed, scaled, c full",
                 .attributes = {{"transA", std::int64_t{1}},
                                {"transB", std::int64_t{1}},
                                {"alpha", 0.5},
                                {"beta", -2.0}},
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({11, n}), f32({6, 11}), f32({n, 6})};
                     }},
                {.name = "a transposed, c a column",
                 .attributes = {{"transA", std::int64_t{1}}},
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({4, n}), f32({4, 9}), f32({n, 1})};
                     }},
                // With an activation sums keep away from its kink, whatever is lost of the factors.
                {.name = "relu of an outer product",
                 .attributes = {{"transB", std::int64_t{1}}, {"activation", std::string("relu")}},
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({n, 1}), f32({7, 1})};
                     },
                 .fill = {Fill::kAwayFromZero, Fill::kAwayFromZero},
                 .tolerance_f32 = 4e-6},
                {.name = "dense layer and relu",
                 .attributes = {{"transB", std::int64_t{1}},
                                {"alpha", 0.004},
                                {"activation", std::string("relu")}},
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({n, 5}), f32({19, 5}), f32({19})};
                     },
                 .fill = {Fill::kNormal, Fill::kNormal, Fill::kAwayFromZero},
                 .tolerance_f32 = 4e-6},
                {.name = "c a scalar",
                 .inputs =
                     [](std::int64_t n) {
                       return std::vector{f32({n, 4}), f32({4, 9}), f32({})};
                     }},
            },
        .refusals =
            {
                {.name = "inner sizes differ",
                 .inputs = {f32({2, 3}), f32({4, 5})},
                 .message = "inner sizes differ"},
                {.name = "rank 3",
                 .inputs = {f32({2, 3, 4}), f32({4, 5})},
                 .message = "multiplies matrices"},
                {.name = "c of another size",
                 .inputs = {f32({2, 3}), f32({3, 5}), f32({4})},
                 .message = "broadcast"},
                {.name = "another activation",
                 .attributes = {{"activation", std::string("swish")}},
                 .inputs = {f32({2, 3}), f32({3, 5})},
                 .message = "activation"},
            },
        .low_precision = 0b11,
};

}  // namespace phalanx
