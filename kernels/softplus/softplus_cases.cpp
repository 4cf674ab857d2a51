// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/unary_cases.hpp"
#include "softplus/softplus.hpp"

namespace phalanx {
namespace {

double value(double x) { return std::log1p(std::exp(x)); }

}  // namespace

extern const OpCases softplus_cases;
const OpCases softplus_cases = {
    .op = &softplus_op,
    .reference = unary_reference<value>,
    .cases = unary_cases(),
    .refusals = unary_refusals(),
};

}  // namespace phalanx
