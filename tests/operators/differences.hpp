// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "trial.hpp"

namespace phalanx::operators_test {

/// What the oracle says about the gradient of one input of L = sum w * y.
struct ExpectedGradient {
  /// Of single elements, by logical index; all of them where that is affordable.
  std::vector<std::pair<std::int64_t, double>> elements;
  /// Slopes of L along directions that move every element by -max(1, |x|) or +max(1, |x|).
  std::vector<std::pair<Values, double>> directions;
};

/// Central differences of the oracle in double, with steps of 6e-6 max(1, |x|). Every element if
/// that takes at most `budget` scalar operations; otherwise a random choice of elements and two
/// random directions.
ExpectedGradient differentiate_oracle(const Trial& trial, std::size_t input,
                                      const std::vector<Values>& w, double budget);

/// sum w * y over the outputs that have a gradient.
double weighted_sum(const std::vector<Values>& w, const std::vector<Values>& y);

}  // namespace phalanx::operators_test
