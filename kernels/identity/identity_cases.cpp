// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "identity/identity.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  out[0] = in[0];
}

}  // namespace

extern const OpCases identity_cases;
const OpCases identity_cases = {
    .op = &identity_op,
    .reference = reference,
    .cases =
        {
            {.name = "vector",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n}}};
                 }},
            {.name = "image",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 32, 3, 2}}};
                 }},
        },
    .refusals = {{.name = "two inputs",
                  .inputs = {{DType::kF32, Shape{3}}, {DType::kF32, Shape{3}}},
                  .message = "one input, found 2"}},
};

}  // namespace phalanx
