// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.hpp"

namespace phalanx {

/// y [M, N] = alpha * a [M, K] b^T [N, K] of f32 for a few rows, as a dense layer has them when it answers requests. Every row
/// of b is read once, and its inner products with all rows of a are summed side by side, in sixteen lanes over K: so y has the
/// same bits whatever M is and however many threads there are. oneDNN copies b first, or fills its lanes with rows of a,
/// of which there are too few.
class MatmulFewRows {
 public:
  MatmulFewRows() = default;
  MatmulFewRows(std::int64_t m, std::int64_t n, std::int64_t k, float alpha)
      : m_(m), n_(n), k_(k), alpha_(alpha) {}

  /// Whether it is faster than oneDNN.
  static bool suits(std::int64_t m, std::int64_t n, std::int64_t k, DType dtype) noexcept;

  explicit operator bool() const noexcept { return m_ > 0; }
  std::size_t workspace_bytes() const noexcept;
  void run(const float* a, const float* b, float* y, std::byte* workspace) const;

 private:
  std::int64_t m_ = 0, n_ = 0, k_ = 0;
  float alpha_ = 1;
};

}  // namespace phalanx
