// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "core/shape.hpp"
#include "op/attributes.hpp"

namespace phalanx {

/// By what the sum over all elements of a loss is multiplied.
inline double loss_scale(const Attributes& attributes, const Shape& x) {
  if (x.numel() == 0) return 1;
  const std::string_view reduction = attributes.get_string("reduction", "sum");
  if (reduction == "mean") return 1 / static_cast<double>(x.numel());
  if (reduction == "row_mean_sum")
    return static_cast<double>(x[0]) / static_cast<double>(x.numel());
  return 1;
}

}  // namespace phalanx
