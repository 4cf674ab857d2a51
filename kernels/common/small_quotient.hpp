// SPDX-License-Identifier: Apache-2.0
/// Divisions of numbers below 2^31 by a Divisor. The compiler is told that they are, and drops what larger ones would need.
#pragma once

#include "common/divisor.hpp"
#include "simt/simt.hpp"

namespace phalanx {

__device__ __forceinline__ int quotient(int n, const Divisor& by) {
  return static_cast<int>(by.quotient(static_cast<unsigned>(n) & 0x7fffffffu));
}
/// The same, rounded up; n > 0.
__device__ __forceinline__ int quotient_up(int n, const Divisor& by) {
  return quotient(n + static_cast<int>(by.size()) - 1, by);
}
/// Leaves the quotient in n and returns the remainder.
__device__ __forceinline__ int take(int& n, const Divisor& by) {
  const int all = n;
  n = quotient(n, by);
  return all - n * static_cast<int>(by.size());
}

}  // namespace phalanx
