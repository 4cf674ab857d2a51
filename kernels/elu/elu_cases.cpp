// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/unary_cases.hpp"
#include "elu/elu.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types, OpCases::Vectors in, OpCases::Vectors out) {
  const double alpha = attributes.get_float("alpha", 1);
  std::ranges::transform(in[0], out[0].begin(),
                         [alpha](double x) { return x > 0 ? x : alpha * std::expm1(x); });
}

}  // namespace

extern const OpCases elu_cases;
const OpCases elu_cases = {
    .op = &elu_op,
    .reference = reference,
    .cases = unary_cases(Fill::kAwayFromZero, {{"alpha", 0.7}}),
    .refusals = unary_alpha_refusals(),
};

}  // namespace phalanx
