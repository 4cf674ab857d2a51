// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/cases.hpp"

namespace phalanx {

/// The element of an operand that broadcasting pairs with element `i` of y, both counted in logical order.
inline std::int64_t broadcast_source(const Shape& y, const Shape& operand, std::int64_t i) {
  std::int64_t from = 0, stride = 1;
  for (int axis = 1; axis <= operand.rank(); ++axis) {
    const std::int64_t at = i % y[-axis];
    i /= y[-axis];
    if (operand[-axis] != 1) from += at * stride;
    stride *= operand[-axis];
  }
  return from;
}

/// The oracle of an elementwise operator of two inputs.
template <double (*kValue)(double, double)>
void binary_reference(const Attributes&, Types types, OpCases::Vectors in, OpCases::Vectors out) {
  const Shape y = broadcast(types[0].shape, types[1].shape);
  for (std::int64_t i = 0; i < y.numel(); ++i)
    out[0][i] = kValue(in[0][broadcast_source(y, types[0].shape, i)],
                       in[1][broadcast_source(y, types[1].shape, i)]);
}

/// Two f32 inputs of these sizes.
inline std::vector<TensorType> two_f32(std::initializer_list<std::int64_t> a,
                                       std::initializer_list<std::int64_t> b) {
  return {{DType::kF32, Shape(a)}, {DType::kF32, Shape(b)}};
}

/// Every way in which shapes broadcast and memory formats meet.
std::vector<OpCases::Case> binary_broadcast_cases(const std::vector<Fill>& fill);

/// A few of them, for operators that share the walk with another that is tested in full.
std::vector<OpCases::Case> binary_cases(const std::vector<Fill>& fill);

/// What infer_binary refuses.
std::vector<OpCases::Refusal> binary_refusals();

}  // namespace phalanx
