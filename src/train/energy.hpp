// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "train/energy_source.hpp"

namespace phalanx {

struct EnergyOptions {
  std::string sysfs_root = "/sys";
  std::string nvml_library = "libnvidia-ml.so.1";  ///< a name or path for dlopen()
  /// Watts that this node is taken to use where RAPL is absent, without the GPUs that NVML measures; 0: no estimate.
  double estimated_watts = 0;
  double pue = 1;             ///< power usage effectiveness: data centre / its computers, >= 1
  double grid_g_per_kwh = 0;  ///< carbon intensity of the electricity, in gCO2e per kWh; 0: unknown
};

/// What one node used.
struct EnergyUse {
  double seconds = 0;
  double cpu_joules = 0;     ///< measured by RAPL, or the estimate
  double gpu_joules = 0;     ///< measured by NVML
  bool is_estimate = false;  ///< cpu_joules is estimated_watts * seconds
  bool is_known = false;  ///< false: nothing could be measured or estimated, and the joules are 0
  double pue = 1;
  double grid_g_per_kwh = 0;
  /// For people: "RAPL (2 packages), NVML (4 GPUs)", "estimate of 65 W per node; RAPL: <why not>; NVML: <why not>".
  std::string sources;

  double total_joules() const { return cpu_joules + gpu_joules; }
  /// Emissions of the electricity, in grams of CO2 equivalent; 0 where the intensity is unknown.
  ///
  ///   grams = total_joules / 3.6e6 * pue * grid_g_per_kwh          (3.6e6 J are 1 kWh)
  ///
  /// Making the machine is not in it, nor what the node uses beside the sources: fans, disks, losses of its power supply.
  /// Source    GHG Protocol Scope 2 Guidance (2015), chapter 6: activity data times emission factor; PUE as in
  ///           ISO/IEC 30134-2. Both together: Lannelongue et al., "Green Algorithms", Advanced Science 8 (2021) 2100707.
  double grams_co2e() const { return total_joules() / 3.6e6 * pue * grid_g_per_kwh; }
};

/// Measures the joules that this node's processors and GPUs use from start() on, those of other programs included. One rank
/// per node does it.
///
///   cpu_joules = RAPL, or estimated_watts * seconds where RAPL is absent;   gpu_joules = NVML, or 0 where NVML is absent
///
/// A source that is absent is no error: EnergyUse::sources says why. Neither copied nor moved, not thread-safe.
class EnergyMeter {
 public:
  /// Opens the sources. `clock` returns seconds that never fall; empty: std::chrono::steady_clock.
  /// Throws    ConfigError naming the member of `options` that is out of range.
  explicit EnergyMeter(EnergyOptions options, std::function<double()> clock = {});
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;

  /// Counts from 0.
  void start();
  /// Reads the counters: at least once per wrap of RAPL's (minutes), and once a second or so where power is integrated.
  /// Throws    InvalidArgument before start().
  void update();
  /// Updates, and returns what was used since start().
  /// Throws    InvalidArgument before start().
  EnergyUse read();

 private:
  std::string describe(bool is_estimate) const;

  EnergyOptions options_;
  std::function<double()> clock_;
  std::unique_ptr<EnergySource> rapl_, nvml_;
  std::string rapl_absent_, nvml_absent_;  ///< why
  double start_seconds_ = 0, now_seconds_ = 0;
  bool is_started_ = false;
};

}  // namespace phalanx
