// SPDX-License-Identifier: Apache-2.0
#include "common/binary_cases.hpp"
#include "mul/mul.hpp"

namespace phalanx {
namespace {

double value(double a, double b) { return a * b; }

}  // namespace

extern const OpCases mul_cases;
const OpCases mul_cases = {
    .op = &mul_op,
    .reference = binary_reference<value>,
    .cases = binary_cases({}),
    .refusals = binary_refusals(),
    .low_precision = 0b11,
};

}  // namespace phalanx
