// SPDX-License-Identifier: Apache-2.0
#pragma once

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

}  // namespace phalanx
