// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "common/cases.hpp"

namespace phalanx {

inline std::vector<TensorType> unary_vector(std::int64_t n) { return {{DType::kF32, Shape{n}}}; }
inline std::vector<TensorType> unary_image(std::int64_t n) {
  return {{DType::kF32, Shape{n, 32, 5, 3}}};
}

/// The oracle of an elementwise operator without attributes.
template <double (*kValue)(double)>
void unary_reference(const Attributes&, Types, OpCases::Vectors in, OpCases::Vectors out) {
  std::ranges::transform(in[0], out[0].begin(), kValue);
}

/// A vector, benchmarked, and images in every memory format. `attributes` go with the images, so that the vector shows the
/// defaults.
inline std::vector<OpCases::Case> unary_cases(Fill fill = Fill::kNormal,
                                              const Attributes& attributes = {}) {
  return {
      {.name = "vector", .inputs = unary_vector, .fill = {fill}, .benchmark_n = 1 << 22},
      {.name = "image",
       .attributes = attributes,
       .inputs = unary_image,
       .fill = {fill},
       .sizes = {0, 1, 3, 17}},
  };
}

/// What infer_unary refuses, and then what the operator itself does.
inline std::vector<OpCases::Refusal> unary_refusals(std::vector<OpCases::Refusal> own = {}) {
  own.push_back({.name = "integers", .inputs = {{DType::kI64, Shape{3}}}, .message = "floating"});
  own.push_back({.name = "two inputs",
                 .inputs = {{DType::kF32, Shape{3}}, {DType::kF32, Shape{3}}},
                 .message = "one input, found 2"});
  return own;
}

/// What infer_unary_alpha refuses.
inline std::vector<OpCases::Refusal> unary_alpha_refusals() {
  return unary_refusals({{.name = "negative slope",
                          .attributes = {{"alpha", -0.5}},
                          .inputs = {{DType::kF32, Shape{3}}},
                          .message = "alpha must not be negative"}});
}

}  // namespace phalanx
