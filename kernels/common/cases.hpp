// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "op/op.hpp"

namespace phalanx {

/// How the harness draws the values of one input.
enum class Fill : std::uint8_t {
  kNormal,        ///< standard normal
  kAwayFromZero,  ///< normal, |x| >= 0.1: for operators with a kink at zero
  kDistinct,  ///< all values differ by 0.05 or more: for operators that choose, such as max pooling
  kPositive,  ///< uniform in [0.5, 2)
  kUnit,      ///< uniform in [0.05, 0.95)
  kLabels,    ///< integers in [0, classes), classes being the last axis of input 0
  kZeroOrOne,  ///< floats that are 0 or 1
};

/// What tests and benchmarks know about one operator.
struct OpCases {
  /// One double buffer per operand, row-major in logical (plain) order.
  using Vectors = std::span<std::vector<double>>;

  struct Case {
    std::string_view name;
    Attributes attributes;
    /// Types of the inputs for a size n that the harness chooses (0, 1, 31, 32, 33, ...). Floating types are given as f32;
    /// the harness replaces those named by `low_precision` by bf16 for the bf16 runs.
    std::vector<TensorType> (*inputs)(std::int64_t n);
    std::vector<Fill> fill = {};   ///< per input; missing entries: kNormal
    std::int64_t benchmark_n = 0;  ///< 0: not benchmarked
    double tolerance_f32 =
        2e-6;  ///< largest |error| over the largest |value| of the tensor, at least 1
    double tolerance_bf16 = 2e-2;
    std::uint32_t absent = 0;              ///< bit i: input i is left out (optional inputs)
    std::vector<std::int64_t> sizes = {};  ///< values of n; empty: the harness's own
  };
  /// Attributes and types that infer must refuse with InvalidArgument whose text contains `message`.
  struct Refusal {
    std::string_view name;
    Attributes attributes;
    std::vector<TensorType> inputs;
    std::string_view message;
  };

  const OpSpec* op = nullptr;
  /// Plain loops in double: the oracle. Fills `out` (sized by infer, saved outputs may be left as they are).
  void (*reference)(const Attributes& attributes, Types inputs, Vectors in, Vectors out) = nullptr;
  std::vector<Case> cases;
  std::vector<Refusal> refusals;
  std::uint32_t low_precision =
      1;  ///< bit i: input i may be bf16 (activations); 0: the operator is f32 only
};

/// Every operator's cases, in the order of kernels/CMakeLists.txt. For tests and benchmarks.
std::span<const OpCases* const> all_cases() noexcept;

}  // namespace phalanx
