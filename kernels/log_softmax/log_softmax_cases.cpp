// SPDX-License-Identifier: Apache-2.0
#include "common/softmax_cases.hpp"
#include "log_softmax/log_softmax.hpp"

namespace phalanx {

extern const OpCases log_softmax_cases;
const OpCases log_softmax_cases = {
    .op = &log_softmax_op,
    .reference = softmax_reference<true>,
    .cases = softmax_cases_over_axes(),
    .refusals = softmax_refusals(),
};

}  // namespace phalanx
