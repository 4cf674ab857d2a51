// SPDX-License-Identifier: Apache-2.0
#include "cast/cast.hpp"
#include "common/cases.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  out[0] = in[0];
}

}  // namespace

extern const OpCases cast_cases;
const OpCases cast_cases = {
    .op = &cast_op,
    .reference = reference,
    .cases =
        {
            {.name = "to bf16",
             .attributes = {{"to", std::string("bf16")}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n}}};
                 },
             .benchmark_n = 1 << 22,
             .tolerance_f32 = 0x1p-8},
            {.name = "image to f32",
             .attributes = {{"to", std::string("f32")}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 16, 3, 2}}};
                 }},
        },
    .refusals =
        {
            {.name = "no target type",
             .inputs = {{DType::kF32, Shape{3}}},
             .message = "f32 or bf16, found ''"},
            {.name = "integers",
             .attributes = {{"to", std::string("f32")}},
             .inputs = {{DType::kI64, Shape{3}}},
             .message = "floating"},
        },
};

}  // namespace phalanx
