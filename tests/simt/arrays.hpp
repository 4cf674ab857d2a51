// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

namespace phalanx {

/// Numbers between -1 and 1, the same for the same seed.
inline std::vector<float> some_floats(std::size_t n, std::uint64_t seed) {
  std::vector<float> values(n);
  std::uint64_t state = seed * 2654435761u + 1;
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(state >> 40) * 0x1p-23f - 1.0f;
  }
  return values;
}

/// a[m,k] b[k,n] in double.
template <class T>
std::vector<double> product(const std::vector<T>& a, const std::vector<T>& b, int m, int n, int k) {
  std::vector<double> c(static_cast<std::size_t>(m) * n);
  for (int row = 0; row < m; ++row) {
    for (int i = 0; i < k; ++i) {
      const double left = static_cast<float>(a[static_cast<std::size_t>(row) * k + i]);
      for (int column = 0; column < n; ++column) {
        c[static_cast<std::size_t>(row) * n + column] +=
            left * static_cast<float>(b[static_cast<std::size_t>(i) * n + column]);
      }
    }
  }
  return c;
}

}  // namespace phalanx
