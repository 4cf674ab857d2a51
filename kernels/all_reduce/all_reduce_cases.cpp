// SPDX-License-Identifier: Apache-2.0
#include "all_reduce/all_reduce.hpp"
#include "common/cases.hpp"

namespace phalanx {
namespace {

// One rank: the sum over ranks is x. Several ranks are the matter of tests/distributed.
void reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  out[0] = in[0];
}

}  // namespace

extern const OpCases all_reduce_cases;
const OpCases all_reduce_cases = {
    .op = &all_reduce_op,
    .reference = reference,
    .cases = {{.name = "matrix",
               .inputs =
                   [](std::int64_t n) {
                     return std::vector{TensorType{DType::kF32, Shape{n, 5}}};
                   }}},
    .refusals = {{.name = "bf16", .inputs = {{DType::kBf16, Shape{3}}}, .message = "f32"}},
    .low_precision = 0,
};

}  // namespace phalanx
