// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/cases.hpp"

namespace phalanx {

/// The oracle of softmax and, with kLog, of its logarithm.
template <bool kLog>
void softmax_reference(const Attributes& attributes, Types types, OpCases::Vectors in,
                       OpCases::Vectors out);

/// Every place of the axis.
std::vector<OpCases::Case> softmax_cases_over_axes();

/// What infer_softmax refuses.
std::vector<OpCases::Refusal> softmax_refusals();

}  // namespace phalanx
