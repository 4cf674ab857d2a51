// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr double kOneCycleStart = 1.0 / 25.0;
constexpr double kOneCycleRise = 0.3;

}  // namespace

Schedule::Kind Schedule::kind_of(const std::string& name) {
  static const std::vector<std::string> kNames = {"constant", "step", "cosine", "linear",
                                                  "one-cycle"};
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end())
    throw ConfigError(fmt::format("schedule: expected one of {}, found '{}'; did you mean '{}'?",
                                  fmt::join(kNames, ", "), name, nearest(name, kNames)));
  return static_cast<Kind>(found - kNames.begin());
}

Schedule::Schedule(const TrainConfig& config, std::int64_t steps_per_epoch,
                   std::int64_t total_steps)
    : kind_(kind_of(config.schedule)),
      peak_(config.learning_rate),
      warmup_start_(kind_ == Kind::kOneCycle ? kOneCycleStart : 0.0),
      final_factor_(config.final_factor),
      step_factor_(config.step_factor),
      drop_steps_(config.step_epochs * static_cast<double>(steps_per_epoch)),
      warmup_steps_(std::llround(config.warmup_epochs * static_cast<double>(steps_per_epoch))),
      total_steps_(total_steps) {
  require(steps_per_epoch >= 1, "a schedule needs at least one step per epoch");
  require(total_steps >= 0, "a schedule needs a total of at least 0 steps");
  if (kind_ == Kind::kOneCycle && config.warmup_epochs == 0)
    warmup_steps_ = std::llround(kOneCycleRise * static_cast<double>(total_steps));
}

double Schedule::rate(std::int64_t step) const {
  require(step >= 0, "a step is counted from 0");
  if (step >= warmup_steps_) return peak_ * factor_after_warmup(step);
  const double risen = static_cast<double>(step + 1) / static_cast<double>(warmup_steps_);
  return peak_ * (warmup_start_ + (1 - warmup_start_) * risen);
}

double Schedule::factor_after_warmup(std::int64_t step) const {
  const auto since = static_cast<double>(step - warmup_steps_);
  const auto length = static_cast<double>(total_steps_ - warmup_steps_);
  const double done = length > 0 ? std::min(since / length, 1.0) : 1.0;
  switch (kind_) {
    case Kind::kConstant: return 1;
    case Kind::kStep: return std::pow(step_factor_, std::floor(since / drop_steps_));
    case Kind::kLinear: return 1 + (final_factor_ - 1) * done;
    case Kind::kCosine:
    case Kind::kOneCycle:
      return final_factor_ + (1 - final_factor_) * (1 + std::cos(std::numbers::pi * done)) / 2;
  }
  throw InvalidArgument("unknown schedule");
}

}  // namespace phalanx
