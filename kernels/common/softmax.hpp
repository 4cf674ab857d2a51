// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cmath>

#include "common/axis_view.hpp"
#include "common/math.hpp"
#include "common/reduce.hpp"
#include "common/unary.hpp"
#include "op/op.hpp"

namespace phalanx {

/// infer() of softmax and its logarithm: any floating type, the axis must exist.
inline std::vector<TensorType> infer_softmax(std::string_view op, const Attributes& attributes,
                                             Types in) {
  std::vector<TensorType> out = infer_unary(op, in);
  const std::int64_t axis = attributes.get_int("axis", -1), rank = in[0].shape.rank();
  if (axis < -rank || axis >= rank)
    throw InvalidArgument(
        fmt::format("{}: axis {} does not exist in shape {}", op, axis, in[0].shape.str()));
  return out;
}

/// Columns that are worked on together where the axis is not the last; their sums lie on the stack.
inline constexpr std::int64_t kSoftmaxTile = 128;

/// One contiguous row: y = softmax(x), or its logarithm. y may be x.
template <bool kLog, class T>
void softmax_row(std::int64_t count, const T* x, T* y) {
  const float largest = largest_of(count, [x](std::int64_t i) { return static_cast<float>(x[i]); });
  const float sum =
      sum_of(count, [=](std::int64_t i) { return math::exp(static_cast<float>(x[i]) - largest); });
  const float shift = std::log(sum), factor = 1.0f / sum;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float centred = static_cast<float>(x[i]) - largest;
    y[i] = T(kLog ? centred - shift : math::exp(centred) * factor);
  }
}

/// `width` neighbouring columns of `size` elements, `stride` apart.
template <bool kLog, class T>
void softmax_columns(std::int64_t size, std::int64_t stride, std::int64_t width, const T* x, T* y) {
  float largest[kSoftmaxTile], sum[kSoftmaxTile];
  for (std::int64_t j = 0; j < width; ++j) largest[j] = static_cast<float>(x[j]);
  for (std::int64_t k = 1; k < size; ++k)
    for (std::int64_t j = 0; j < width; ++j) {
      const auto v = static_cast<float>(x[k * stride + j]);
      largest[j] = largest[j] > v ? largest[j] : v;
    }
  std::fill_n(sum, width, 0.0f);
  for (std::int64_t k = 0; k < size; ++k)
    for (std::int64_t j = 0; j < width; ++j)
      sum[j] += math::exp(static_cast<float>(x[k * stride + j]) - largest[j]);
  for (std::int64_t j = 0; j < width; ++j) sum[j] = kLog ? std::log(sum[j]) : 1.0f / sum[j];
  for (std::int64_t k = 0; k < size; ++k)
#pragma GCC ivdep
    for (std::int64_t j = 0; j < width; ++j) {
      const float centred = static_cast<float>(x[k * stride + j]) - largest[j];
      y[k * stride + j] = T(kLog ? centred - sum[j] : math::exp(centred) * sum[j]);
    }
}

template <bool kLog>
void softmax_forward(ConstTensorView from, TensorView to, std::int64_t axis) {
  if (from.numel() == 0) return;
  const AxisView v(from.shape(), axis);
  with_float_type(from.type.dtype, [&]<class T>() {
    for (std::int64_t o = 0; o < v.outer; ++o) {
      const T* x = from.as<T>() + o * v.size * v.inner;
      T* y = to.as<T>() + o * v.size * v.inner;
      if (v.inner == 1)
        softmax_row<kLog>(v.size, x, y);
      else
        for (std::int64_t j = 0; j < v.inner; j += kSoftmaxTile)
          softmax_columns<kLog>(v.size, v.inner, std::min(kSoftmaxTile, v.inner - j), x + j, y + j);
    }
  });
}

/// What one element adds to the sum over its axis, and its gradient given that sum.
template <bool kLog>
float softmax_term(float y, float dy) {
  return kLog ? dy : y * dy;
}
template <bool kLog>
float softmax_slope(float y, float dy, float sum) {
  return kLog ? dy - math::exp(y) * sum : y * (dy - sum);
}

template <bool kLog, class T>
void softmax_backward_row(std::int64_t count, const T* y, const T* dy, T* dx) {
  const float sum = sum_of(count, [=](std::int64_t i) {
    return softmax_term<kLog>(static_cast<float>(y[i]), static_cast<float>(dy[i]));
  });
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i)
    dx[i] = T(softmax_slope<kLog>(static_cast<float>(y[i]), static_cast<float>(dy[i]), sum));
}

template <bool kLog, class T>
void softmax_backward_columns(std::int64_t size, std::int64_t stride, std::int64_t width,
                              const T* y, const T* dy, T* dx) {
  float sum[kSoftmaxTile] = {};
  for (std::int64_t k = 0; k < size; ++k)
    for (std::int64_t j = 0; j < width; ++j)
      sum[j] += softmax_term<kLog>(static_cast<float>(y[k * stride + j]),
                                   static_cast<float>(dy[k * stride + j]));
  for (std::int64_t k = 0; k < size; ++k)
#pragma GCC ivdep
    for (std::int64_t j = 0; j < width; ++j)
      dx[k * stride + j] = T(softmax_slope<kLog>(static_cast<float>(y[k * stride + j]),
                                                 static_cast<float>(dy[k * stride + j]), sum[j]));
}

/// dx may be dy.
template <bool kLog>
void softmax_backward(ConstTensorView y, ConstTensorView dy, TensorView dx, std::int64_t axis) {
  if (y.numel() == 0) return;
  const AxisView v(y.shape(), axis);
  with_float_type(y.type.dtype, [&]<class T>() {
    for (std::int64_t o = 0; o < v.outer; ++o) {
      const std::int64_t at = o * v.size * v.inner;
      if (v.inner == 1)
        softmax_backward_row<kLog>(v.size, y.as<T>() + at, dy.as<T>() + at, dx.as<T>() + at);
      else
        for (std::int64_t j = 0; j < v.inner; j += kSoftmaxTile)
          softmax_backward_columns<kLog>(v.size, v.inner, std::min(kSoftmaxTile, v.inner - j),
                                         y.as<T>() + at + j, dy.as<T>() + at + j,
                                         dx.as<T>() + at + j);
    }
  });
}

}  // namespace phalanx
