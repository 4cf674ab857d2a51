// SPDX-License-Identifier: Apache-2.0
/// What gemm and matmul hand to the kernels that multiply matrices on a GPU.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/dtype.hpp"

namespace phalanx {

/// One axis of matrices that are multiplied: how many, and how far apart in each operand, in elements. 0: the same one again.
struct GemmAxis {
  std::int64_t count = 1;
  std::int64_t a = 0, b = 0, d = 0;
};

/// Axes, outermost first.
struct GemmAxes {
  static constexpr int kMost = 8;
  std::array<GemmAxis, kMost> axis{};
  int used = 0;

  void add(const GemmAxis& more) { axis[static_cast<std::size_t>(used++)] = more; }
  std::int64_t count() const noexcept {
    std::int64_t product = 1;
    for (int i = 0; i < used; ++i) product *= axis[static_cast<std::size_t>(i)].count;
    return product;
  }
};

/// d = relu?(alpha A B + beta c) for every batch, f32 sums;  A [M, K], B [K, N], c and d [M, N].
///
/// A matrix has neighbours in memory along one of its axes, and `a_stride`, `b_stride` or `d_stride` elements between rows (or
/// columns) of them. d lies along N. c is f32, without batches, and its element (i, j) stands at i c_row + j c_column; strides
/// of 0 stretch it.
struct GemmProblem {
  std::int64_t m = 0, n = 0, k = 0;
  DType type = DType::kF32;      ///< of a and b
  DType out_type = DType::kF32;  ///< of d
  bool tf32 = false;             ///< f32 operands lose all but 10 bits of mantissa
  bool a_along_k = true, b_along_k = false;
  std::int64_t a_stride = 0, b_stride = 0, d_stride = 0;
  GemmAxes batches;  ///< of d
  GemmAxes sums;     ///< of products that one matrix of d adds up; `d` of these axes is 0
  float alpha = 1, beta = 1;
  bool has_c = false;
  std::int64_t c_row = 0, c_column = 0;
  bool relu = false;

  bool is_empty() const noexcept { return m == 0 || n == 0 || batches.count() == 0; }
  bool has_product() const noexcept { return k > 0 && sums.count() > 0; }
  std::int64_t flops() const noexcept { return 2 * m * n * k * batches.count() * sums.count(); }
};

/// The same products with fewer and larger axes: batches that stand below each other join M, sums that continue K join it, and
/// axes merge where all operands step through them evenly.
GemmProblem simplified(GemmProblem problem);

/// Everything that decides how long it takes, in words.
std::string description(const GemmProblem& problem);

/// Operands of one run. `adds`: to what is in d.
struct GemmOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  const float* c = nullptr;
  void* d = nullptr;
  bool adds = false;
};

}  // namespace phalanx
