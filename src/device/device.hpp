// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace phalanx {

class DeviceBackend;

enum class DeviceKind : std::uint8_t { kCpu, kCuda };

/// One processor that runs kernels and owns memory. `index` counts devices of one kind on this node, as this process sees
/// them. A device that is no CPU has a backend, which outlives it.
struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;
  DeviceBackend* backend = nullptr;
  friend bool operator==(const Device&, const Device&) = default;
};

constexpr std::string_view name(DeviceKind kind) noexcept {
  return kind == DeviceKind::kCpu ? "cpu" : "cuda";
}

}  // namespace phalanx
