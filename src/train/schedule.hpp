// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "train/config.hpp"

namespace phalanx {

/// The learning rate as a pure function of the step, so that a resumed run needs no state for it.
///
/// With W = round(warmup-epochs * steps per epoch), T = total steps, f = final-factor,
/// peak = learning-rate and u = clamp((s - W) / (T - W), 0, 1), step s = 0, 1, ... uses
///
///   s < W      peak * (s + 1) / W;  one-cycle: peak / 25 + (peak - peak / 25) * (s + 1) / W
///   constant   peak
///   step       peak * step-factor ^ floor((s - W) / (step-epochs * steps per epoch))
///   linear     peak * (1 + (f - 1) * u)
///   cosine     peak * (f + (1 - f) * (1 + cos(pi * u)) / 2)
///   one-cycle  as cosine; W = round(0.3 * T) if warmup-epochs is 0
///
/// The rate reaches peak * f at s = T, the first step that is not done, and keeps it after that:
/// with f = 0 no step is lost on a rate of 0. If T <= W the run ends during or at the warm-up.
///
/// Source    Cosine: Loshchilov, Hutter 2017, arXiv:1608.03983, eq. 5. One-cycle: Smith, Topin
///           2018, arXiv:1708.07120. Warm-up: Goyal et al. 2017, arXiv:1706.02677, section 2.2.
class Schedule {
 public:
  /// Throws    ConfigError on an unknown schedule name, with the nearest one;
  ///           InvalidArgument if steps_per_epoch < 1 or total_steps < 0.
  Schedule(const TrainConfig& config, std::int64_t steps_per_epoch, std::int64_t total_steps);

  /// The rate of step `step`, counted from 0 over the whole run.
  /// Throws    InvalidArgument if step < 0.
  double rate(std::int64_t step) const;

  std::int64_t warmup_steps() const noexcept { return warmup_steps_; }

 private:
  enum class Kind { kConstant, kStep, kCosine, kLinear, kOneCycle };

  static Kind kind_of(const std::string& name);
  double factor_after_warmup(std::int64_t step) const;

  Kind kind_;
  double peak_;
  double warmup_start_;  ///< factor that the warm-up rises from
  double final_factor_;
  double step_factor_;
  double drop_steps_;
  std::int64_t warmup_steps_;
  std::int64_t total_steps_;
};

}  // namespace phalanx
