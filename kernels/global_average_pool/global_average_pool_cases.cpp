// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "global_average_pool/global_average_pool.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types types, OpCases::Vectors in, OpCases::Vectors out) {
  const Shape& x = types[0].shape;
  const std::int64_t pixels = x[2] * x[3];
  for (std::int64_t plane = 0; plane < x[0] * x[1]; ++plane) {
    double sum = 0;
    for (std::int64_t p = 0; p < pixels; ++p) sum += in[0][plane * pixels + p];
    out[0][plane] = sum / static_cast<double>(pixels);
  }
}

template <std::int64_t C, std::int64_t H, std::int64_t W>
std::vector<TensorType> images(std::int64_t n) {
  return {{DType::kF32, Shape{n, C, H, W}}};
}

}  // namespace

extern const OpCases global_average_pool_cases;
const OpCases global_average_pool_cases = {
    .op = &global_average_pool_op,
    .reference = reference,
    .cases =
        {
            {.name = "last layer of a ResNet",
             .inputs = images<512, 7, 7>,
             .benchmark_n = 64,
             .sizes = {1}},
            {.name = "small image", .inputs = images<48, 3, 5>, .sizes = {0, 1, 3, 33}},
            {.name = "odd channels", .inputs = images<6, 5, 5>, .sizes = {0, 1, 3, 33}},
            {.name = "more pixels than one segment", .inputs = images<16, 100, 90>, .sizes = {1}},
            {.name = "1 x 1 image", .inputs = images<5, 1, 1>, .sizes = {0, 1, 33}},
        },
    .refusals =
        {
            {.name = "rank 3",
             .inputs = {{DType::kF32, Shape{2, 4, 4}}},
             .message = "[N, C, H, W]"},
            {.name = "integers",
             .inputs = {{DType::kI64, Shape{2, 4, 4, 1}}},
             .message = "f32 or bf16"},
            {.name = "an empty image", .inputs = images<3, 0, 4>(2), .message = "images are empty"},
        },
};

}  // namespace phalanx
