// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

namespace phalanx {

/// Counts the joules that a part of this node uses, whoever uses it: other programs on the node are counted too.
///
/// A reading that fails after start() is left out: the last good one stays, the next good one covers the gap, and
/// description() names the reason until then. Not thread-safe.
class EnergySource {
 public:
  virtual ~EnergySource() = default;
  /// Counts from here; `now_seconds` is of the clock that update() is given.
  virtual void start(double now_seconds) = 0;
  virtual void update(double now_seconds) = 0;
  /// Between start() and the last update().
  virtual double joules() const = 0;
  /// For people: "RAPL (2 packages)", "NVML (4 GPUs)".
  virtual std::string description() const = 0;
};

/// Running Average Power Limit: the energy counters of processor packages, Intel's and AMD's, as Linux shows them in
/// <sysfs_root>/class/powercap/intel-rapl:<n>/: `name`, `energy_uj` in microjoules, `max_energy_range_uj`, its largest value.
///
///   joules = 1e-6 * sum over packages and readings of  now - last                        if now >= last
///                                                       max_energy_range_uj - last + now  if the counter wrapped
///
/// A wrap takes minutes to hours: 262 kJ at 200 W are 22 minutes. update() has to be called at least once in that time.
/// The zone "psys", all of the platform, counts only where no package does. Zones intel-rapl:<n>:<m> do not count: "core" and
/// "uncore" are parts of their package. So memory ("dram") counts only where the package's counter holds it.
///
/// Throws    Unsupported naming path and reason if there is no package, or one that cannot be read: files that only the
///           super user may read are usual since Linux 5.10.
/// Source    Linux, Documentation/power/powercap/powercap.rst and Documentation/ABI/testing/sysfs-class-powercap.
std::unique_ptr<EnergySource> open_rapl(const std::string& sysfs_root);

/// NVIDIA Management Library: every GPU of the node that the driver shows to this process.
///
///   joules = 1e-3 * (nvmlDeviceGetTotalEnergyConsumption now - at start), in millijoules since the driver was loaded;
///   where a GPU has no such counter (before Volta), the integral of nvmlDeviceGetPowerUsage, in milliwatts, by trapezoids
///   between calls of update(): joules = 1e-3 * sum of (power + last power) / 2 * (now - last time).
///
/// GPUs that have neither are left out, and description() says so.
/// `library`: a name or path for dlopen(), "libnvidia-ml.so.1" with NVIDIA's driver.
/// Throws    Unsupported naming function and reason if the library is missing or fails, or no GPU can be read.
/// Source    NVML API Reference Guide, "Device Queries".
std::unique_ptr<EnergySource> open_nvml(const std::string& library);

}  // namespace phalanx
