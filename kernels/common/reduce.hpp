// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace phalanx {

/// Folds value(i), i < count, in 16 lanes that meet in a tree: vector instructions without reassociation by the compiler,
/// and an order that depends on count only.
template <class F, class Combine>
float fold(std::int64_t count, float start, F value, Combine combine) {
  constexpr std::int64_t kLanes = 16;
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, start);
  const std::int64_t whole = count / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes)
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[l] = combine(lanes[l], value(i + l));
  for (std::int64_t i = whole; i < count; ++i)
    lanes[i - whole] = combine(lanes[i - whole], value(i));
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2)
    for (std::int64_t l = 0; l < half; ++l) lanes[l] = combine(lanes[l], lanes[l + half]);
  return lanes[0];
}

/// The sum of value(i), i < count.
template <class F>
float sum_of(std::int64_t count, F value) {
  return fold(count, 0.0f, value, [](float a, float b) { return a + b; });
}

/// The largest value(i), i < count; minus infinity if there is none.
template <class F>
float largest_of(std::int64_t count, F value) {
  return fold(count, -std::numeric_limits<float>::infinity(), value,
              [](float a, float b) { return a > b ? a : b; });
}

}  // namespace phalanx
