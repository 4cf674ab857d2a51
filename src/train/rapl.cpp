// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"
#include "train/energy_source.hpp"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

std::string read_line(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  std::string line;
  if (std::getline(file, line)) return line;
  throw Unsupported(
      fmt::format("{}: {}", path, errno ? std::generic_category().message(errno) : "it is empty"));
}

std::uint64_t read_microjoules(const std::string& path) {
  const std::string line = read_line(path);
  try {
    const std::int64_t value = parse_int(trim(line));
    if (value >= 0) return static_cast<std::uint64_t>(value);
  } catch (const InvalidInput&) {
  }
  throw Unsupported(fmt::format("{}: expected microjoules, found '{}'", path, line));
}

struct Zone {
  std::string counter;  ///< path of energy_uj
  std::uint64_t range_uj = 0;
  std::optional<std::uint64_t> last_uj;
};

class Rapl final : public EnergySource {
 public:
  Rapl(std::vector<Zone> zones, bool is_platform)
      : zones_(std::move(zones)), is_platform_(is_platform) {}

  void start(double now_seconds) override {
    microjoules_ = 0;
    for (Zone& zone : zones_) zone.last_uj.reset();
    update(now_seconds);
  }

  void update(double) override {
    problem_.clear();
    for (Zone& zone : zones_) {
      try {
        add_reading(zone);
      } catch (const Unsupported& error) {
        problem_ = error.what();
      }
    }
  }

  double joules() const override { return static_cast<double>(microjoules_) * 1e-6; }

  std::string description() const override {
    std::string text = is_platform_ ? "RAPL (platform"
                                    : fmt::format("RAPL ({} package{}", zones_.size(),
                                                  zones_.size() == 1 ? "" : "s");
    if (!problem_.empty()) text += "; last reading failed: " + problem_;
    return text + ")";
  }

 private:
  void add_reading(Zone& zone) {
    const std::uint64_t now = read_microjoules(zone.counter);
    const std::uint64_t last = zone.last_uj.value_or(now);
    // A range below the counter would be a mistake of the driver: then the counter starts at 0.
    microjoules_ += now >= last ? now - last : std::max(zone.range_uj, last) - last + now;
    zone.last_uj = now;
  }

  std::vector<Zone> zones_;
  bool is_platform_;
  std::uint64_t microjoules_ = 0;
  std::string problem_;
};

/// "intel-rapl:0", but neither "intel-rapl:0:1" nor "intel-rapl-mmio:0", which shows the same package again.
bool is_top_zone(std::string_view name) {
  constexpr std::string_view kPrefix = "intel-rapl:";
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) return false;
  return name.find_first_not_of("0123456789", kPrefix.size()) == name.npos;
}

std::vector<std::string> top_zones(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  while (!error && entries != fs::directory_iterator()) {
    if (is_top_zone(entries->path().filename().string())) paths.push_back(entries->path().string());
    entries.increment(error);
  }
  if (error) throw Unsupported(fmt::format("{}: {}", folder, error.message()));
  std::ranges::sort(paths);
  return paths;
}

Zone open_zone(const std::string& path) {
  Zone zone{.counter = path + "/energy_uj",
            .range_uj = read_microjoules(path + "/max_energy_range_uj")};
  read_microjoules(zone.counter);
  return zone;
}

}  // namespace

std::unique_ptr<EnergySource> open_rapl(const std::string& sysfs_root) {
  const std::string folder = sysfs_root + "/class/powercap";
  std::vector<std::string> packages, platforms;
  for (const std::string& path : top_zones(folder))
    (trim(read_line(path + "/name")) == "psys" ? platforms : packages).push_back(path);
  const bool is_platform = packages.empty();
  std::vector<Zone> zones;
  for (const std::string& path : is_platform ? platforms : packages)
    zones.push_back(open_zone(path));
  if (zones.empty()) throw Unsupported(folder + ": no intel-rapl zones");
  return std::make_unique<Rapl>(std::move(zones), is_platform);
}

}  // namespace phalanx
