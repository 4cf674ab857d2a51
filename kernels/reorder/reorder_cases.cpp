// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "reorder/reorder.hpp"

namespace phalanx {
namespace {

// Oracle vectors are in logical order, so another memory format changes nothing.
void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  out[0] = in[0];
}

}  // namespace

extern const OpCases reorder_cases;
const OpCases reorder_cases = {
    .op = &reorder_op,
    .reference = reference,
    .cases =
        {
            {.name = "to blocks of 16",
             .attributes = {{"channel_block", std::int64_t{16}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 48, 3, 5}}};
                 },
             .benchmark_n = 64},
            {.name = "to channels last, even sizes",
             .attributes = {{"channel_block", std::int64_t{48}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 48, 7, 20}}};
                 },
             .sizes = {0, 1, 3, 17}},
            {.name = "to channels last",
             .attributes = {{"channel_block", std::int64_t{3}}},
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 3, 7, 2}}};
                 }},
        },
    .refusals = {{.name = "a block that does not divide",
                  .attributes = {{"channel_block", std::int64_t{16}}},
                  .inputs = {{DType::kF32, Shape{2, 24, 3, 3}}},
                  .message = "divide"}},
};

}  // namespace phalanx
