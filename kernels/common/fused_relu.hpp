// SPDX-License-Identifier: Apache-2.0
/// The relu that a product on a CPU applies to what it wrote.
#pragma once

#include <cstdint>

namespace phalanx {

inline float relu(float x) { return x < 0.0f ? 0.0f : x; }  // NaN stays

template <class T>
void relu(T* y, std::int64_t count) {
  constexpr std::int64_t kWorthThreads = 1 << 15;
#pragma omp parallel for simd if (parallel : count >= kWorthThreads)
  for (std::int64_t i = 0; i < count; ++i) y[i] = T(relu(static_cast<float>(y[i])));
}

/// The gradient behind the activation: dy where y > 0.
template <class T>
void relu_gradient(const T* y, const T* dy, T* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    to[i] = static_cast<float>(y[i]) > 0.0f ? dy[i] : T(0.0f);
}

}  // namespace phalanx
