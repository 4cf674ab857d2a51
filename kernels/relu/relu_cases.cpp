// SPDX-License-Identifier: Apache-2.0
#include "common/unary_cases.hpp"
#include "relu/relu.hpp"

namespace phalanx {
namespace {

double value(double x) { return x > 0 ? x : 0; }

}  // namespace

extern const OpCases relu_cases;
const OpCases relu_cases = {
    .op = &relu_op,
    .reference = unary_reference<value>,
    .cases = unary_cases(Fill::kAwayFromZero),
    .refusals = unary_refusals(),
};

}  // namespace phalanx
