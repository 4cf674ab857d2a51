// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "op/op.hpp"

namespace phalanx {

/// Checks the vectors of an optimizer step: all f32, all of the shape of the first, at least one axis.
/// Throws    InvalidArgument that names the operator, what was expected and what was found.
inline void check_optimizer_vectors(std::string_view op, Types vectors) {
  if (vectors[0].dtype != DType::kF32 || vectors[0].shape.rank() == 0)
    throw InvalidArgument(
        fmt::format("{}: w must be an f32 vector, found {}", op, vectors[0].str()));
  for (std::size_t i = 1; i < vectors.size(); ++i)
    if (!(vectors[i] == vectors[0]))
      throw InvalidArgument(fmt::format("{}: input {} must be {} as w, found {}", op, i,
                                        vectors[0].str(), vectors[i].str()));
}

/// Checks the vector of step constants.
/// Throws    InvalidArgument.
inline void check_hyper(std::string_view op, const TensorType& hyper, std::int64_t count) {
  if (!(hyper == TensorType(DType::kF32, Shape{count})))
    throw InvalidArgument(
        fmt::format("{}: hyper must be f32 [{}], found {}", op, count, hyper.str()));
}

/// The outputs of an optimizer step and, with the attribute copy = 1, w' once more in bf16.
inline std::vector<TensorType> with_copy(const Attributes& attributes,
                                         std::vector<TensorType> out) {
  if (attributes.get_int("copy", 0) != 0) out.emplace_back(DType::kBf16, out[0].shape);
  return out;
}

/// w[i] = step(i) for every i, rounded into copy[i] too if there is one.
template <class Step>
void for_each_weight(std::int64_t count, float* w, Bf16* copy, Step step) {
  if (copy == nullptr) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) w[i] = step(i);
    return;
  }
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    w[i] = step(i);
    copy[i] = Bf16(w[i]);
  }
}

}  // namespace phalanx
