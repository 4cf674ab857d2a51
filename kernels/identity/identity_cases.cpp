// SPDX-License-Identifier: Apache-2.0
#include "common/unary_cases.hpp"
#include "identity/identity.hpp"

namespace phalanx {
namespace {

double value(double x) { return x; }

}  // namespace

extern const OpCases identity_cases;
const OpCases identity_cases = {
    .op = &identity_op,
    .reference = unary_reference<value>,
    .cases = unary_cases(),
    .refusals = {{.name = "two inputs",
                  .inputs = {{DType::kF32, Shape{3}}, {DType::kF32, Shape{3}}},
                  .message = "one input, found 2"}},
};

}  // namespace phalanx
