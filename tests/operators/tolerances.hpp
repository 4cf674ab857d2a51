// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace phalanx::operators_test {

/// With what an operator computes.
enum class Precision : std::uint8_t { kF32, kTf32, kBf16 };

/// What every operator must keep in a precision, whatever its cases allow.
struct Tolerances {
  std::string_view name;
  /// Largest ||found - expected|| / ||expected|| of a tensor: an error that is everywhere shows up here long before a single
  /// element leaves its tolerance.
  double norm;
  /// The least that a case's tolerance of single elements counts as.
  double element;
};

/// The one table of it, by Precision.
inline constexpr std::array<Tolerances, 3> kTolerances = {{
    {.name = "f32", .norm = 1e-5, .element = 0},
    {.name = "tf32", .norm = 2e-3, .element = 4e-3},  // 10 bits of mantissa in both factors
    {.name = "bf16", .norm = 1e-2, .element = 0},     // 7 bits
}};
constexpr const Tolerances& tolerances(Precision p) {
  return kTolerances[static_cast<std::size_t>(p)];
}

/// Tensors whose norm is smaller are left out: rounding decides about all of it.
inline constexpr double kSmallestNorm = 1e-3;

/// Operators that multiply matrices: the ones that BackendOptions::tf32 is for.
inline constexpr std::array<std::string_view, 3> kProducts = {"conv", "gemm", "matmul"};

}  // namespace phalanx::operators_test
