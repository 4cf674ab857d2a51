// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "dropout/dropout.hpp"

namespace phalanx {
namespace {

// With the RandomState of a fresh context, one counter at a time.
void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const Shape& x = types[0].shape;
  const std::int64_t row_size = x.product(1, x.rank());
  const std::uint32_t threshold = dropout_threshold(attributes);
  const double keep = 1 - attributes.get_float("ratio", 0.5);
  for (std::int64_t row = 0; row < x[0]; ++row) {
    const auto [c1, c2, c3] = dropout_counter(RandomState(), row);
    for (std::int64_t e = 0; e < row_size; ++e) {
      const std::uint32_t word = philox(0, {static_cast<std::uint32_t>(e / 4), c1, c2, c3})[e % 4];
      out[0][row * row_size + e] = word < threshold ? 0.0 : in[0][row * row_size + e] / keep;
    }
  }
}

template <std::int64_t C, std::int64_t H, std::int64_t W>
std::vector<TensorType> images(std::int64_t n) {
  return {{DType::kF32, Shape{n, C, H, W}}};
}

}  // namespace

extern const OpCases dropout_cases;
const OpCases dropout_cases = {
    .op = &dropout_op,
    .reference = reference,
    .cases =
        {
            {.name = "rows of 37",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 37}}};
                 }},
            {.name = "one long row",
             .attributes = {{"ratio", 0.1}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{1, n}}};
                 }},
            {.name = "rows of 4096",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 4096}}};
                 },
             .benchmark_n = 256,
             .sizes = {2}},
            {.name = "images in whole counters",
             .attributes = {{"ratio", 0.25}},
             .inputs = images<32, 4, 6>,
             .sizes = {0, 1, 3, 33}},
            {.name = "images with odd rows", .inputs = images<16, 3, 5>, .sizes = {0, 1, 3, 33}},
            {.name = "nothing dropped",
             .attributes = {{"ratio", 0.0}},
             .inputs = images<6, 3, 3>,
             .sizes = {0, 1, 3}},
        },
    .refusals =
        {
            {.name = "ratio of one",
             .attributes = {{"ratio", 1.0}},
             .inputs = images<3, 4, 4>(1),
             .message = "[0, 1)"},
            {.name = "negative ratio",
             .attributes = {{"ratio", -0.5}},
             .inputs = images<3, 4, 4>(1),
             .message = "found -0.5"},
            {.name = "a scalar", .inputs = {{DType::kF32, Shape{}}}, .message = "[N, ...]"},
            {.name = "integers", .inputs = {{DType::kI64, Shape{3}}}, .message = "f32 or bf16"},
        },
};

}  // namespace phalanx
