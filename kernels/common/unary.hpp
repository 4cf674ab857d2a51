// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>

#include "op/op.hpp"

namespace phalanx {

/// infer() of an operator with one floating input and an output of the same type.
inline std::vector<TensorType> infer_unary(std::string_view op, Types in) {
  if (in.size() != 1)
    throw InvalidArgument(fmt::format("{} takes one input, found {}", op, in.size()));
  if (!is_float(in[0].dtype))
    throw InvalidArgument(fmt::format("{} needs a floating type, found {}", op, in[0].str()));
  return {in[0]};
}

/// The same for an operator with a slope or scale `alpha` for negative x, which may not be negative itself.
inline std::vector<TensorType> infer_unary_alpha(std::string_view op, double default_alpha,
                                                 const Attributes& attributes, Types in) {
  const double alpha = attributes.get_float("alpha", default_alpha);
  if (!(alpha >= 0))
    throw InvalidArgument(fmt::format("{}: alpha must not be negative, found {}", op, alpha));
  return infer_unary(op, in);
}

/// y[i] = f(x[i]) in f32, for any memory format: both sides have the same one.
template <class F>
void unary_forward(Inputs in, Outputs out, F f) {
  with_float_type(in[0].type.dtype, [&]<class T>() {
    const T* x = in[0].as<T>();
    T* y = out[0].as<T>();
    const std::int64_t count = in[0].numel();
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) y[i] = T(f(static_cast<float>(x[i])));
  });
}

/// dx[i] = dy[i] * slope(v[i]), v being x or y, whichever the operator's backward reads. dx may be dy.
template <class F>
void unary_backward(ConstTensorView v, ConstTensorView dy, TensorView dx, F slope) {
  with_float_type(dx.type.dtype, [&]<class T>() {
    const T* from = v.as<T>();
    const T* g = dy.as<T>();
    T* to = dx.as<T>();
    const std::int64_t count = dx.numel();
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i)
      to[i] = T(static_cast<float>(g[i]) * slope(static_cast<float>(from[i])));
  });
}

/// The output of a unary operator may take the place of its input.
inline constexpr AliasRule kUnaryAliases[] = {{0, 0, AliasKind::kMay}};

}  // namespace phalanx
