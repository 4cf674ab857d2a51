// SPDX-License-Identifier: Apache-2.0
#include "common/softmax_cases.hpp"
#include "softmax/softmax.hpp"

namespace phalanx {

extern const OpCases softmax_cases;
const OpCases softmax_cases = {
    .op = &softmax_op,
    .reference = softmax_reference<false>,
    .cases = softmax_cases_over_axes(),
    .refusals = softmax_refusals(),
};

}  // namespace phalanx
