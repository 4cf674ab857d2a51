// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "reshape/reshape.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  out[0] = in[0];
}

}  // namespace

extern const OpCases reshape_cases;
const OpCases reshape_cases = {
    .op = &reshape_op,
    .reference = reference,
    .cases =
        {
            {.name = "kept and open sizes",
             .attributes = {{"shape", Ints{0, -1, 2}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 6, 4}}};
                 }},
            {.name = "to an image",
             .attributes = {{"shape", Ints{-1, 3, 2, 2}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 12}}};
                 },
             .sizes = {1, 31, 32, 33}},
        },
    .refusals =
        {
            {.name = "other number of elements",
             .attributes = {{"shape", Ints{4, 2}}},
             .inputs = {{DType::kF32, Shape{3, 3}}},
             .message = "[3, 3] does not fit the shape [4, 2]"},
            {.name = "two open sizes",
             .attributes = {{"shape", Ints{-1, -1}}},
             .inputs = {{DType::kF32, Shape{3, 3}}},
             .message = "does not fit"},
            {.name = "a kept size that is not there",
             .attributes = {{"shape", Ints{3, 3, 0}}},
             .inputs = {{DType::kF32, Shape{3, 3}}},
             .message = "does not fit"},
        },
};

}  // namespace phalanx
