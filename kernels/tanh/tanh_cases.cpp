// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/unary_cases.hpp"
#include "tanh/tanh.hpp"

namespace phalanx {
namespace {

double value(double x) { return std::tanh(x); }

}  // namespace

extern const OpCases tanh_cases;
const OpCases tanh_cases = {
    .op = &tanh_op,
    .reference = unary_reference<value>,
    .cases = unary_cases(),
    .refusals = unary_refusals(),
};

}  // namespace phalanx
