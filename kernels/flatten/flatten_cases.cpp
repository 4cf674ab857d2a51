// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "flatten/flatten.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  out[0] = in[0];
}

}  // namespace

extern const OpCases flatten_cases;
const OpCases flatten_cases = {
    .op = &flatten_op,
    .reference = reference,
    .cases =
        {
            {.name = "image",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 3, 4, 5}}};
                 }},
            {.name = "last axis kept",
             .attributes = {{"axis", std::int64_t{-1}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 3, 4}}};
                 }},
        },
    .refusals = {{.name = "no such axis",
                  .attributes = {{"axis", std::int64_t{3}}},
                  .inputs = {{DType::kF32, Shape{2, 3}}},
                  .message = "axis 3"}},
};

}  // namespace phalanx
