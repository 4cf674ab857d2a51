// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "concat/concat.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const int axis = types[0].shape.normalised_axis(attributes.get_int("axis", 0));
  const std::int64_t outer = types[0].shape.product(0, axis);
  std::size_t to = 0;
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::size_t i = 0; i < in.size(); ++i) {
      const std::int64_t piece = types[i].shape.product(axis, types[i].shape.rank());
      for (std::int64_t k = 0; k < piece; ++k)
        out[0][to++] = in[i][static_cast<std::size_t>(o * piece + k)];
    }
}

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }

}  // namespace

extern const OpCases concat_cases;
const OpCases concat_cases = {
    .op = &concat_op,
    .reference = reference,
    .cases =
        {
            {.name = "channels of images",
             .attributes = {{"axis", std::int64_t{1}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 3, 2, 5}), f32({n, 1, 2, 5}), f32({n, 4, 2, 5})};
                 }},
            {.name = "rows",
             .attributes = {{"axis", std::int64_t{0}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 3}), f32({2, 3})};
                 }},
            {.name = "last axis, one input",
             .attributes = {{"axis", std::int64_t{-1}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({2, n})};
                 }},
        },
    .refusals =
        {
            {.name = "other sizes",
             .attributes = {{"axis", std::int64_t{1}}},
             .inputs = {f32({2, 3}), f32({3, 3})},
             .message = "input 1"},
            {.name = "no axis", .inputs = {f32({2, 3})}, .message = "'axis'"},
        },
    .low_precision = 0b111,
};

}  // namespace phalanx
