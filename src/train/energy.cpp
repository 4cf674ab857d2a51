// SPDX-License-Identifier: Apache-2.0
#include "train/energy.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <utility>

#include "core/error.hpp"

namespace phalanx {
namespace {

void check_at_least(double least, double value, const char* name) {
  if (!std::isfinite(value) || value < least)
    throw ConfigError(
        fmt::format("energy: {}: expected a number of at least {}, found {}", name, least, value));
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Open>
std::unique_ptr<EnergySource> try_open(Open open, const std::string& where, std::string& absent) {
  try {
    return open(where);
  } catch (const Unsupported& error) {
    absent = error.what();
    return nullptr;
  }
}

void append(std::string& text, std::string_view separator, const std::string& part) {
  if (!text.empty()) text += separator;
  text += part;
}

}  // namespace

EnergyMeter::EnergyMeter(EnergyOptions options, std::function<double()> clock)
    : options_(std::move(options)), clock_(clock ? std::move(clock) : steady_seconds) {
  check_at_least(0, options_.estimated_watts, "estimated_watts");
  check_at_least(1, options_.pue, "pue");
  check_at_least(0, options_.grid_g_per_kwh, "grid_g_per_kwh");
  rapl_ = try_open(open_rapl, options_.sysfs_root, rapl_absent_);
  nvml_ = try_open(open_nvml, options_.nvml_library, nvml_absent_);
}

void EnergyMeter::start() {
  start_seconds_ = now_seconds_ = clock_();
  is_started_ = true;
  if (rapl_) rapl_->start(now_seconds_);
  if (nvml_) nvml_->start(now_seconds_);
}

void EnergyMeter::update() {
  require(is_started_, "EnergyMeter: start() comes first");
  now_seconds_ = clock_();
  if (rapl_) rapl_->update(now_seconds_);
  if (nvml_) nvml_->update(now_seconds_);
}

EnergyUse EnergyMeter::read() {
  update();
  EnergyUse use{.seconds = now_seconds_ - start_seconds_,
                .pue = options_.pue,
                .grid_g_per_kwh = options_.grid_g_per_kwh};
  use.is_estimate = !rapl_ && options_.estimated_watts > 0;
  use.is_known = rapl_ || nvml_ || use.is_estimate;
  use.cpu_joules = rapl_ ? rapl_->joules() : options_.estimated_watts * use.seconds;
  use.gpu_joules = nvml_ ? nvml_->joules() : 0;
  use.sources = describe(use.is_estimate);
  return use;
}

std::string EnergyMeter::describe(bool is_estimate) const {
  std::string text;
  if (rapl_) append(text, ", ", rapl_->description());
  if (nvml_) append(text, ", ", nvml_->description());
  if (is_estimate)
    append(text, ", ",
           fmt::format("estimate of {:g} W per node{}", options_.estimated_watts,
                       nvml_ ? " without GPUs" : ""));
  if (text.empty()) text = "nothing measured";
  if (!rapl_) append(text, "; ", "RAPL: " + rapl_absent_);
  if (!nvml_) append(text, "; ", "NVML: " + nvml_absent_);
  return text;
}

}  // namespace phalanx
