// SPDX-License-Identifier: Apache-2.0
#include "common/loss_cases.hpp"
#include "mean_squared_error/mean_squared_error.hpp"

namespace phalanx {
namespace {

double value(double x, double target) { return (x - target) * (x - target); }

}  // namespace

extern const OpCases mean_squared_error_cases;
const OpCases mean_squared_error_cases = {
    .op = &mean_squared_error_op,
    .reference = loss_reference<value>,
    .cases = loss_cases(Fill::kNormal),
    .refusals = loss_refusals(),
    .low_precision = 0,
};

}  // namespace phalanx
