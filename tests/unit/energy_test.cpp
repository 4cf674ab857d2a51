// SPDX-License-Identifier: Apache-2.0
#include "train/energy.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "core/error.hpp"
#include "unit/data_testing.hpp"

namespace phalanx {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using testing::expect_error;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::write_file;

/// A node in a folder: powercap's files, the fake NVML, a clock that stands still.
class Energy : public ::testing::Test {
 protected:
  Energy() {
    for (const char* name : {"GPUS", "MJ", "MW", "NO_TOTAL", "FAIL", "LOG"})
      unsetenv(variable(name).c_str());
    options_.sysfs_root = folder_.path("sys");
    options_.nvml_library = folder_.path("missing.so");
  }
  ~Energy() override {
    for (const char* name : {"GPUS", "MJ", "MW", "NO_TOTAL", "FAIL", "LOG"})
      unsetenv(variable(name).c_str());
  }

  std::string zone(const std::string& place, const std::string& file) const {
    return folder_.path("sys/class/powercap/" + place + "/" + file);
  }
  void add_zone(const std::string& place, const std::string& name, const std::string& energy_uj) {
    write_file(zone(place, "name"), name + "\n");
    write_file(zone(place, "max_energy_range_uj"), "262143328850\n");
    set(place, energy_uj);
  }
  void set(const std::string& place, const std::string& energy_uj) {
    write_file(zone(place, "energy_uj"), energy_uj + "\n");
  }
  void add_two_packages() {
    add_zone("intel-rapl:0", "package-0", "1000000");
    add_zone("intel-rapl:1", "package-1", "5000000");
  }

  void add_gpus(const char* count) {
    options_.nvml_library = PHALANX_FAKE_NVML;
    setenv("FAKE_NVML_GPUS", count, 1);
  }
  void set_gpus(const char* name, const char* values) { setenv(variable(name).c_str(), values, 1); }

  std::unique_ptr<EnergyMeter> started() {
    auto meter = std::make_unique<EnergyMeter>(options_, [this] { return seconds_; });
    meter->start();
    return meter;
  }

  TemporaryFolder folder_;
  EnergyOptions options_;
  double seconds_ = 100;

 private:
  static std::string variable(const char* name) { return std::string("FAKE_NVML_") + name; }
};

TEST_F(Energy, SumsThePackagesAndNothingElse) {
  add_two_packages();
  add_zone("intel-rapl", "package-9", "0");         // the control type
  add_zone("intel-rapl:0:0", "core", "0");          // a part of package 0
  add_zone("intel-rapl:2", "psys", "0");            // holds both packages
  add_zone("intel-rapl-mmio:0", "package-0", "0");  // package 0 again
  add_zone("intel-rapl:", "package-7", "0");        // no number
  const auto meter = started();
  set("intel-rapl:0", "3500000");
  set("intel-rapl:1", "5250000");
  for (const char* other :
       {"intel-rapl", "intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0", "intel-rapl:"})
    set(other, "900000000");
  const EnergyUse use = meter->read();
  EXPECT_DOUBLE_EQ(use.cpu_joules, 2.75);
  EXPECT_EQ(use.gpu_joules, 0);
  EXPECT_DOUBLE_EQ(use.total_joules(), 2.75);
  EXPECT_FALSE(use.is_estimate);
  EXPECT_TRUE(use.is_known);
  EXPECT_THAT(use.sources, ::testing::StartsWith("RAPL (2 packages); NVML: "));
  EXPECT_THAT(use.sources, HasSubstr("missing.so: cannot open shared object file"));
}

TEST_F(Energy, PsysCountsWhereThereAreNoPackages) {
  add_zone("intel-rapl:0", "psys", "0");
  const auto meter = started();
  set("intel-rapl:0", "4000000");
  EXPECT_DOUBLE_EQ(meter->read().cpu_joules, 4);
  EXPECT_THAT(meter->read().sources, HasSubstr("RAPL (platform)"));
}

TEST_F(Energy, AWrappedCounterGoesOnFromItsRange) {
  add_zone("intel-rapl:0", "package-0", "262143000000");
  const auto meter = started();
  set("intel-rapl:0", "671150");  // 328850 up to the range, 671150 behind it: one joule
  meter->update();
  EXPECT_DOUBLE_EQ(meter->read().cpu_joules, 1);
  set("intel-rapl:0", "262143328850");
  meter->update();
  set("intel-rapl:0", "5");
  EXPECT_NEAR(meter->read().cpu_joules, 1 + (262143328850.0 - 671150 + 5) * 1e-6, 1e-6)
      << "a second wrap";
  EXPECT_THAT(meter->read().sources, HasSubstr("RAPL (1 package);"));
}

TEST_F(Energy, StartCountsFromZero) {
  add_two_packages();
  const auto meter = started();
  set("intel-rapl:0", "9000000");
  seconds_ = 103;
  EXPECT_DOUBLE_EQ(meter->read().cpu_joules, 8);
  EXPECT_DOUBLE_EQ(meter->read().seconds, 3);
  set("intel-rapl:0", "9500000");  // since the last reading, but before start()
  meter->start();
  EXPECT_EQ(meter->read().cpu_joules, 0);
  EXPECT_EQ(meter->read().seconds, 0);
}

TEST_F(Energy, UpdateBeforeStartIsRefused) {
  EnergyMeter meter(options_);
  expect_error<InvalidArgument>([&] { meter.update(); }, {"start() comes first"});
  expect_error<InvalidArgument>([&] { meter.read(); }, {"start() comes first"});
}

TEST_F(Energy, WithoutPowercapNothingIsKnown) {
  const EnergyUse use = started()->read();
  EXPECT_FALSE(use.is_known);
  EXPECT_FALSE(use.is_estimate);
  EXPECT_EQ(use.total_joules(), 0);
  EXPECT_THAT(use.sources, ::testing::StartsWith("nothing measured; RAPL: "));
  EXPECT_THAT(use.sources, HasSubstr("class/powercap: No such file or directory"));
}

TEST_F(Energy, AFolderWithoutZonesIsNamed) {
  add_zone("dtpm", "other", "0");
  EXPECT_THAT(started()->read().sources, HasSubstr("class/powercap: no intel-rapl zones"));
}

TEST_F(Energy, OnePackageThatCannotBeReadMakesRaplAbsent) {
  struct Damage {
    const char *file, *content, *reason;
  };
  for (const Damage& d : {Damage{"energy_uj", nullptr, "energy_uj: No such file or directory"},
                          Damage{"max_energy_range_uj", nullptr, "range_uj: No such file"},
                          Damage{"name", nullptr, "name: No such file"},
                          Damage{"energy_uj", "", "energy_uj: it is empty"},
                          Damage{"energy_uj", "12 J", "expected microjoules, found '12 J'"},
                          Damage{"energy_uj", "-5", "expected microjoules, found '-5'"},
                          Damage{"max_energy_range_uj", "99999999999999999999",
                                 "expected microjoules, found '99999999999999999999'"}}) {
    add_two_packages();
    if (d.content)
      write_file(zone("intel-rapl:1", d.file), d.content);
    else
      fs::remove(zone("intel-rapl:1", d.file));
    const EnergyUse use = started()->read();
    EXPECT_FALSE(use.is_known) << d.reason;
    EXPECT_THAT(use.sources, HasSubstr("intel-rapl:1/")) << d.reason;
    EXPECT_THAT(use.sources, HasSubstr(d.reason));
  }
}

/// The effective user is nobody while this lives; Linux lets the super user read everything.
class AsNobody {
 public:
  AsNobody() : changed_(geteuid() == 0 && seteuid(65534) == 0) {}
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;
  ~AsNobody() {
    if (changed_ && seteuid(0) != 0) std::abort();
  }

 private:
  bool changed_;
};

TEST_F(Energy, FilesOfTheSuperUserMakeRaplAbsent) {
  add_two_packages();
  fs::permissions(folder_.path(""), fs::perms::others_exec, fs::perm_options::add);
  fs::permissions(zone("intel-rapl:0", "energy_uj"), fs::perms::none);
  const AsNobody nobody;
  if (geteuid() == 0) GTEST_SKIP() << "the super user may read everything";
  EXPECT_THAT(started()->read().sources, HasSubstr("Permission denied"));
}

TEST_F(Energy, AReadingThatFailsOnTheWayIsCoveredByTheNext) {
  add_two_packages();
  const auto meter = started();
  set("intel-rapl:0", "2000000");
  set("intel-rapl:1", "?");
  const EnergyUse partly = meter->read();
  EXPECT_DOUBLE_EQ(partly.cpu_joules, 1);
  EXPECT_THAT(partly.sources, HasSubstr("RAPL (2 packages; last reading failed: "));
  EXPECT_THAT(partly.sources, HasSubstr("found '?'"));
  set("intel-rapl:1", "7000000");
  EXPECT_DOUBLE_EQ(meter->read().cpu_joules, 3);
  EXPECT_THAT(meter->read().sources, HasSubstr("RAPL (2 packages);"));
}

TEST_F(Energy, GpuCountersAreInMillijoules) {
  add_two_packages();
  add_gpus("2");
  set_gpus("MJ", "1000 70000");
  set_gpus("MW", "500000 500000");
  const auto meter = started();
  seconds_ += 10;
  set_gpus("MJ", "1500 72000");
  set("intel-rapl:0", "1500000");
  const EnergyUse use = meter->read();
  EXPECT_DOUBLE_EQ(use.gpu_joules, 2.5);
  EXPECT_DOUBLE_EQ(use.cpu_joules, 0.5);
  EXPECT_DOUBLE_EQ(use.total_joules(), 3);
  EXPECT_EQ(use.sources, "RAPL (2 packages), NVML (2 GPUs)");
  set_gpus("MJ", "250 72000");  // GPU 0 counts from 0 again
  EXPECT_DOUBLE_EQ(meter->read().gpu_joules, 2.75);
  set_gpus("MJ", "300 72000");
  meter->start();
  EXPECT_EQ(meter->read().gpu_joules, 0);
}

TEST_F(Energy, PowerIsIntegratedWhereThereIsNoCounter) {
  add_gpus("2");
  set_gpus("NO_TOTAL", "1");
  set_gpus("MW", "100000 10000");
  const auto meter = started();
  seconds_ += 4;
  set_gpus("MW", "300000 10000");
  meter->update();
  EXPECT_DOUBLE_EQ(meter->read().gpu_joules, 4 * 200 + 4 * 10);
  seconds_ += 1;
  EXPECT_DOUBLE_EQ(meter->read().gpu_joules, 4 * 200 + 1 * 300 + 5 * 10);
  EXPECT_THAT(meter->read().sources, HasSubstr("NVML (2 GPUs, 2 by integrating power);"));
  seconds_ += 1;
  meter->start();
  EXPECT_EQ(meter->read().gpu_joules, 0);
}

TEST_F(Energy, AGpuWithoutReadingsIsLeftOutByName) {
  add_gpus("3");
  set_gpus("MJ", "1 1");
  EXPECT_THAT(started()->read().sources,
              HasSubstr("NVML (2 of 3 GPUs; GPU 2: nvmlDeviceGetPowerUsage: Not Supported);"));
  set_gpus("FAIL", "handle");
  set_gpus("MJ", "1 1 1");
  EXPECT_THAT(started()->read().sources,
              HasSubstr("2 of 3 GPUs; GPU 1: nvmlDeviceGetHandleByIndex_v2: Not Supported"));
}

TEST_F(Energy, AGpuThatFailsOnTheWayIsCoveredByTheNextReading) {
  add_gpus("1");
  set_gpus("MJ", "1000");
  const auto meter = started();
  set_gpus("FAIL", "energy");
  EXPECT_THAT(meter->read().sources,
              HasSubstr("NVML (1 GPU; last reading failed: nvmlDeviceGetTotalEnergyConsumption: "
                        "Not Supported)"));
  set_gpus("FAIL", "");
  set_gpus("MJ", "4000");
  EXPECT_DOUBLE_EQ(meter->read().gpu_joules, 3);
  EXPECT_THAT(meter->read().sources, HasSubstr("NVML (1 GPU);"));
}

TEST_F(Energy, NvmlThatFailsIsAbsentWithItsReason) {
  add_gpus("2");
  set_gpus("FAIL", "init");
  EXPECT_THAT(started()->read().sources, EndsWith("NVML: nvmlInit_v2: Driver Not Loaded"));
  set_gpus("FAIL", "count");
  EXPECT_THAT(started()->read().sources, EndsWith("NVML: nvmlDeviceGetCount_v2: Not Supported"));
  set_gpus("FAIL", "");
  EXPECT_THAT(started()->read().sources,
              EndsWith("NVML: GPU 1: nvmlDeviceGetPowerUsage: Not Supported"));
  set_gpus("GPUS", "0");
  EXPECT_THAT(started()->read().sources, EndsWith("NVML: no GPUs"));
}

TEST_F(Energy, AnotherLibraryInThePlaceOfNvmlIsAbsent) {
  options_.nvml_library = "libc.so.6";
  EXPECT_THAT(started()->read().sources, EndsWith("NVML: the library has no nvmlInit_v2"));
}

TEST_F(Energy, NvmlIsShutDownAsOftenAsItWasInitialised) {
  const std::string path = folder_.path("log");
  set_gpus("LOG", path.c_str());
  add_gpus("1");
  set_gpus("MJ", "1");
  started().reset();
  set_gpus("GPUS", "0");  // found out behind nvmlInit_v2
  started().reset();
  std::ifstream file(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
            "init\nshutdown\ninit\nshutdown\n");
}

TEST_F(Energy, AnEstimateIsWattsTimesTimeAndSaysSo) {
  options_.estimated_watts = 65;
  const auto meter = started();
  seconds_ += 60;
  const EnergyUse use = meter->read();
  EXPECT_DOUBLE_EQ(use.total_joules(), 3900);
  EXPECT_TRUE(use.is_estimate);
  EXPECT_TRUE(use.is_known);
  EXPECT_THAT(use.sources, ::testing::StartsWith("estimate of 65 W per node; RAPL: "));
}

TEST_F(Energy, AnEstimateStandsBesideMeasuredGpusButNotBesideRapl) {
  options_.estimated_watts = 65;
  add_gpus("1");
  set_gpus("MJ", "0");
  const auto beside_gpus = started();
  add_two_packages();
  const auto beside_rapl = started();
  seconds_ += 10;
  set_gpus("MJ", "7000");
  EXPECT_DOUBLE_EQ(beside_gpus->read().total_joules(), 650 + 7);
  EXPECT_TRUE(beside_gpus->read().is_estimate);
  EXPECT_THAT(
      beside_gpus->read().sources,
      ::testing::StartsWith("NVML (1 GPU), estimate of 65 W per node without GPUs; RAPL: "));
  EXPECT_DOUBLE_EQ(beside_rapl->read().total_joules(), 7);
  EXPECT_FALSE(beside_rapl->read().is_estimate);
}

TEST_F(Energy, EmissionsAreEnergyTimesPueTimesIntensity) {
  // 1 kW for 1 h in a data centre of PUE 1.5, at 380 g per kWh.
  options_ = {.sysfs_root = options_.sysfs_root,
              .nvml_library = options_.nvml_library,
              .estimated_watts = 1000,
              .pue = 1.5,
              .grid_g_per_kwh = 380};
  const auto meter = started();
  seconds_ += 3600;
  EXPECT_DOUBLE_EQ(meter->read().grams_co2e(), 570);
  EXPECT_EQ((EnergyUse{.cpu_joules = 3.6e6}.grams_co2e()), 0) << "intensity unknown";
  EXPECT_DOUBLE_EQ(
      (EnergyUse{.cpu_joules = 1.8e6, .gpu_joules = 1.8e6, .grid_g_per_kwh = 25}.grams_co2e()), 25);
}

TEST_F(Energy, OptionsOutOfRangeAreRefusedByName) {
  const auto refused = [&](double EnergyOptions::*member, double value, const char* text) {
    EnergyOptions options = options_;
    options.*member = value;
    expect_error<ConfigError>([&] { EnergyMeter meter(options); }, {text});
  };
  refused(&EnergyOptions::pue, 0.9, "pue: expected a number of at least 1, found 0.9");
  refused(&EnergyOptions::pue, NAN, "pue: expected a number of at least 1, found nan");
  refused(&EnergyOptions::estimated_watts, -1, "estimated_watts: expected a number of at least 0");
  refused(&EnergyOptions::grid_g_per_kwh, INFINITY, "grid_g_per_kwh: expected");
}

}  // namespace
}  // namespace phalanx
