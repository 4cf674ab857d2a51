// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <exception>

namespace phalanx {

/// The first exception of an OpenMP region, which none may leave.
class RegionError {
 public:
  /// Inside.
  template <class F>
  void guard(F f) noexcept {
    try {
      f();
    } catch (...) {
      if (!is_taken_.exchange(true)) first_ = std::current_exception();
    }
  }
  /// Behind it.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::atomic<bool> is_taken_ = false;
  std::exception_ptr first_;
};

}  // namespace phalanx
