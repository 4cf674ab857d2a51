// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace phalanx {

/// The mean losses of the last steps.
class RecentLosses {
 public:
  void add(double loss) {
    if (losses_.size() < kMost)
      losses_.push_back(loss);
    else
      losses_[next_] = loss;
    next_ = (next_ + 1) % kMost;
  }
  /// Oldest first.
  std::vector<double> values() const {
    std::vector<double> ordered = losses_;
    if (losses_.size() == kMost)
      std::rotate(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(next_),
                  ordered.end());
    return ordered;
  }
  /// `sigmas` standard deviations above their mean; infinity if 0, or before there are enough of them.
  double limit(double sigmas) const {
    if (sigmas == 0 || losses_.size() < kMost) return std::numeric_limits<double>::infinity();
    double sum = 0, squares = 0;
    const std::vector<double> losses = values();  // in an order that a resumed run has too
    for (double loss : losses) sum += loss;
    const double mean = sum / static_cast<double>(kMost);
    for (double loss : losses) squares += (loss - mean) * (loss - mean);
    return mean + sigmas * std::sqrt(squares / static_cast<double>(kMost));
  }

 private:
  static constexpr std::size_t kMost = 128;
  std::vector<double> losses_;
  std::size_t next_ = 0;
};

}  // namespace phalanx
