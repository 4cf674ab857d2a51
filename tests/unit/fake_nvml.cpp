// SPDX-License-Identifier: Apache-2.0
// A library in the place of libnvidia-ml.so.1. It has no state: environment variables say what it answers.
//
//   FAKE_NVML_GPUS      number of GPUs
//   FAKE_NVML_MJ        their energy counters, in millijoules: "1000 2000"
//   FAKE_NVML_MW        their power, in milliwatts; a GPU without one has no power reading
//   FAKE_NVML_NO_TOTAL  set: no GPU has an energy counter
//   FAKE_NVML_FAIL      a function that fails: init, count, handle (of GPU 1), energy, power
//   FAKE_NVML_LOG       a file that gets a line for each init and shutdown
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace {

constexpr int kSuccess = 0, kNotSupported = 3, kDriverNotLoaded = 9;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool fails(std::string_view function) { return variable("FAKE_NVML_FAIL") == function; }

/// A device is its index + 1.
std::optional<unsigned long long> number_of(const char* name, void* device) {
  std::istringstream words(variable(name));
  unsigned long long value = 0;
  for (auto i = reinterpret_cast<std::uintptr_t>(device); i > 0; --i)
    if (!(words >> value)) return std::nullopt;
  return value;
}

void log(const char* line) {
  if (const std::string path = variable("FAKE_NVML_LOG"); !path.empty())
    std::ofstream(path, std::ios::app) << line << '\n';
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
  if (fails("init")) return kDriverNotLoaded;
  log("init");
  return kSuccess;
}

int nvmlShutdown() {
  log("shutdown");
  return kSuccess;
}

const char* nvmlErrorString(int status) {
  return status == kDriverNotLoaded ? "Driver Not Loaded" : "Not Supported";
}

int nvmlDeviceGetCount_v2(unsigned* count) {
  if (fails("count")) return kNotSupported;
  *count = static_cast<unsigned>(std::atoi(variable("FAKE_NVML_GPUS").c_str()));
  return kSuccess;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index == 1 && fails("handle")) return kNotSupported;
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index) + 1);
  return kSuccess;
}

int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  const auto value = number_of("FAKE_NVML_MJ", device);
  if (!value || fails("energy") || !variable("FAKE_NVML_NO_TOTAL").empty()) return kNotSupported;
  *millijoules = *value;
  return kSuccess;
}

int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  const auto value = number_of("FAKE_NVML_MW", device);
  if (!value || fails("power")) return kNotSupported;
  *milliwatts = static_cast<unsigned>(*value);
  return kSuccess;
}

}  // extern "C"
