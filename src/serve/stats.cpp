// SPDX-License-Identifier: Apache-2.0
#include "serve/stats.hpp"

#include <algorithm>

namespace phalanx {

void LatencyHistogram::add(double seconds) noexcept {
  const auto bucket = std::ranges::lower_bound(kBounds, seconds) - kBounds.begin();
  ++counts_[static_cast<std::size_t>(bucket)];
  ++count_;
  sum_ += seconds;
}

double LatencyHistogram::quantile(double share) const noexcept {
  if (count_ == 0) return 0;
  const double wanted = share * static_cast<double>(count_);
  double below = 0;
  for (std::size_t i = 0; i < kBounds.size(); ++i) {
    const auto here = static_cast<double>(counts_[i]);
    if (here > 0 && below + here >= wanted) {
      const double low = i == 0 ? 0 : kBounds[i - 1];
      return low + (kBounds[i] - low) * (wanted - below) / here;
    }
    below += here;
  }
  return kBounds.back();
}

}  // namespace phalanx
