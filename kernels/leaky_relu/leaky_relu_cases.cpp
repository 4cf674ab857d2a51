// SPDX-License-Identifier: Apache-2.0
#include "common/unary_cases.hpp"
#include "leaky_relu/leaky_relu.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types, OpCases::Vectors in, OpCases::Vectors out) {
  const double alpha = attributes.get_float("alpha", 0.01);
  std::ranges::transform(in[0], out[0].begin(),
                         [alpha](double x) { return x > 0 ? x : alpha * x; });
}

}  // namespace

extern const OpCases leaky_relu_cases;
const OpCases leaky_relu_cases = {
    .op = &leaky_relu_op,
    .reference = reference,
    .cases = unary_cases(Fill::kAwayFromZero, {{"alpha", 0.3}}),
    .refusals = unary_alpha_refusals(),
};

}  // namespace phalanx
