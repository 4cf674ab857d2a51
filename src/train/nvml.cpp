// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "train/energy_source.hpp"

namespace phalanx {
namespace {

// What is used of NVML's C interface, under names of our own: its header comes with CUDA only.
using Status = int;    // nvmlReturn_t, an enum
using Device = void*;  // nvmlDevice_t
constexpr Status kSuccess = 0;

struct Functions {
  Status (*init)();
  Status (*shutdown)();
  Status (*count)(unsigned*);
  Status (*handle)(unsigned, Device*);
  Status (*power_mw)(Device, unsigned*);
  Status (*energy_mj)(Device, unsigned long long*);  ///< null in drivers before Volta's
  const char* (*error_text)(Status);
};

/// NVML, loaded and initialised. Neither copied nor moved.
class Nvml {
 public:
  explicit Nvml(const std::string& name) : library_(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!library_) throw Unsupported(dlerror());
    try {
      load();
      check(api_.init(), "nvmlInit_v2");
    } catch (...) {
      dlclose(library_);
      throw;
    }
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;
  ~Nvml() {
    api_.shutdown();
    dlclose(library_);
  }

  unsigned count() const {
    unsigned n = 0;
    check(api_.count(&n), "nvmlDeviceGetCount_v2");
    return n;
  }
  Device handle(unsigned index) const {
    Device device = nullptr;
    check(api_.handle(index, &device), "nvmlDeviceGetHandleByIndex_v2");
    return device;
  }
  bool has_counter(Device device) const {
    unsigned long long ignored = 0;
    return api_.energy_mj && api_.energy_mj(device, &ignored) == kSuccess;
  }
  std::uint64_t millijoules(Device device) const {
    unsigned long long value = 0;
    check(api_.energy_mj(device, &value), "nvmlDeviceGetTotalEnergyConsumption");
    return value;
  }
  double watts(Device device) const {
    unsigned milliwatts = 0;
    check(api_.power_mw(device, &milliwatts), "nvmlDeviceGetPowerUsage");
    return milliwatts * 1e-3;
  }

 private:
  template <class F>
  void find(F*& function, const char* name, bool is_optional = false) {
    function = reinterpret_cast<F*>(dlsym(library_, name));
    if (!function && !is_optional) throw Unsupported(fmt::format("the library has no {}", name));
  }
  void load() {
    find(api_.init, "nvmlInit_v2");
    find(api_.shutdown, "nvmlShutdown");
    find(api_.count, "nvmlDeviceGetCount_v2");
    find(api_.handle, "nvmlDeviceGetHandleByIndex_v2");
    find(api_.power_mw, "nvmlDeviceGetPowerUsage");
    find(api_.energy_mj, "nvmlDeviceGetTotalEnergyConsumption", true);
    find(api_.error_text, "nvmlErrorString");
  }
  void check(Status status, const char* function) const {
    if (status != kSuccess)
      throw Unsupported(fmt::format("{}: {}", function, api_.error_text(status)));
  }

  void* library_;
  Functions api_{};
};

struct Gpu {
  Device device = nullptr;
  bool has_counter = false;
  std::optional<std::uint64_t> last_mj = {};                 ///< with a counter
  std::optional<std::pair<double, double>> last_power = {};  ///< without one: seconds, watts
};

class NvmlSource final : public EnergySource {
 public:
  explicit NvmlSource(const std::string& library) : nvml_(library), count_(nvml_.count()) {
    for (unsigned i = 0; i < count_; ++i) {
      try {
        Gpu gpu{.device = nvml_.handle(i)};
        gpu.has_counter = nvml_.has_counter(gpu.device);
        if (!gpu.has_counter) nvml_.watts(gpu.device);
        gpus_.push_back(gpu);
      } catch (const Unsupported& error) {
        left_out_ = fmt::format("GPU {}: {}", i, error.what());
      }
    }
    if (gpus_.empty()) throw Unsupported(count_ ? left_out_ : "no GPUs");
  }

  void start(double now_seconds) override {
    joules_ = 0;
    for (Gpu& gpu : gpus_) {
      gpu.last_mj.reset();
      gpu.last_power.reset();
    }
    update(now_seconds);
  }

  void update(double now_seconds) override {
    problem_.clear();
    for (Gpu& gpu : gpus_) {
      try {
        gpu.has_counter ? add_counter(gpu) : add_power(gpu, now_seconds);
      } catch (const Unsupported& error) {
        problem_ = error.what();
      }
    }
  }

  double joules() const override { return joules_; }

  std::string description() const override {
    std::string text = "NVML (";
    if (gpus_.size() < count_) text += fmt::format("{} of ", gpus_.size());
    text += fmt::format("{} GPU{}", count_, count_ == 1 ? "" : "s");
    const auto integrated = std::ranges::count(gpus_, false, &Gpu::has_counter);
    if (integrated) text += fmt::format(", {} by integrating power", integrated);
    if (!left_out_.empty()) text += "; " + left_out_;
    if (!problem_.empty()) text += "; last reading failed: " + problem_;
    return text + ")";
  }

 private:
  void add_counter(Gpu& gpu) {
    const std::uint64_t now = nvml_.millijoules(gpu.device);
    const std::uint64_t last = gpu.last_mj.value_or(now);
    // A driver that was loaded again counts from 0.
    joules_ += static_cast<double>(now >= last ? now - last : now) * 1e-3;
    gpu.last_mj = now;
  }
  void add_power(Gpu& gpu, double now_seconds) {
    const double watts = nvml_.watts(gpu.device);
    const auto [seconds, last_watts] = gpu.last_power.value_or(std::pair{now_seconds, watts});
    joules_ += (watts + last_watts) / 2 * (now_seconds - seconds);
    gpu.last_power = {now_seconds, watts};
  }

  Nvml nvml_;
  unsigned count_;
  std::vector<Gpu> gpus_;
  double joules_ = 0;
  std::string left_out_, problem_;
};

}  // namespace

std::unique_ptr<EnergySource> open_nvml(const std::string& library) {
  return std::make_unique<NvmlSource>(library);
}

}  // namespace phalanx
