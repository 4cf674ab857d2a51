// SPDX-License-Identifier: Apache-2.0
#include "common/binary_cases.hpp"
#include "div/div.hpp"

namespace phalanx {
namespace {

double value(double a, double b) { return a / b; }

}  // namespace

extern const OpCases div_cases;
const OpCases div_cases = {
    .op = &div_op,
    .reference = binary_reference<value>,
    .cases = binary_cases({Fill::kNormal, Fill::kPositive}),
    .refusals = binary_refusals(),
    .low_precision = 0b11,
};

}  // namespace phalanx
