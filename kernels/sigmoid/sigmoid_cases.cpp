// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/unary_cases.hpp"
#include "sigmoid/sigmoid.hpp"

namespace phalanx {
namespace {

double value(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

extern const OpCases sigmoid_cases;
const OpCases sigmoid_cases = {
    .op = &sigmoid_op,
    .reference = unary_reference<value>,
    .cases = unary_cases(),
    .refusals = unary_refusals(),
};

}  // namespace phalanx
