// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "binary_cross_entropy/binary_cross_entropy.hpp"
#include "common/loss_cases.hpp"

namespace phalanx {
namespace {

double value(double x, double target) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))) - x * target;
}

}  // namespace

extern const OpCases binary_cross_entropy_cases;
const OpCases binary_cross_entropy_cases = {
    .op = &binary_cross_entropy_op,
    .reference = loss_reference<value>,
    .cases = loss_cases(Fill::kUnit),
    .refusals = loss_refusals(),
    .low_precision = 0,
};

}  // namespace phalanx
