// SPDX-License-Identifier: Apache-2.0
#include "add/add.hpp"
#include "common/binary_cases.hpp"

namespace phalanx {
namespace {

double value(double a, double b) { return a + b; }

}  // namespace

extern const OpCases add_cases;
const OpCases add_cases = {
    .op = &add_op,
    .reference = binary_reference<value>,
    .cases = binary_broadcast_cases({}),
    .refusals = binary_refusals(),
    .low_precision = 0b11,
};

}  // namespace phalanx
