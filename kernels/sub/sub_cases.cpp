// SPDX-License-Identifier: Apache-2.0
#include "common/binary_cases.hpp"
#include "sub/sub.hpp"

namespace phalanx {
namespace {

double value(double a, double b) { return a - b; }

}  // namespace

extern const OpCases sub_cases;
const OpCases sub_cases = {
    .op = &sub_op,
    .reference = binary_reference<value>,
    .cases = binary_cases({}),
    .refusals = binary_refusals(),
    .low_precision = 0b11,
};

}  // namespace phalanx
