// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/cases.hpp"

namespace phalanx {

/// A sum over all elements of x, reduced as the attribute says.
double reduce_loss(double sum, const Attributes& attributes, const Shape& x);

/// The oracle of a loss that compares x with a target element by element.
template <double (*kValue)(double, double)>
void loss_reference(const Attributes& attributes, Types types, OpCases::Vectors in,
                    OpCases::Vectors out) {
  double sum = 0;
  for (std::size_t i = 0; i < in[0].size(); ++i) sum += kValue(in[0][i], in[1][i]);
  out[0][0] = reduce_loss(sum, attributes, types[0].shape);
}

/// Every reduction; `target` says how the second input is drawn.
std::vector<OpCases::Case> loss_cases(Fill target);

/// What infer_loss refuses.
std::vector<OpCases::Refusal> loss_refusals();

}  // namespace phalanx
