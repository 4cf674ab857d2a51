// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <mutex>
#include <unordered_map>

namespace phalanx::emulation {

/// Memory of an emulated GPU: the host may touch it only while the device works, as an Access says. Elsewhere a load or a
/// store ends the process with a fault, as it does with a pointer to a real GPU's memory. Sanitizers need memory of their own
/// kind instead, whose overruns they find, and which is always open.
class DeviceMemory {
 public:
  explicit DeviceMemory(std::size_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory();

  /// Bytes of 0xff; null if the capacity does not hold them.
  std::byte* allocate(std::size_t size_bytes);
  void free(std::byte* memory);
  std::size_t capacity_bytes() const noexcept { return capacity_bytes_; }
  std::size_t used_bytes() const;

  /// While one exists the memory is open.
  class Access {
   public:
    explicit Access(DeviceMemory& memory) : memory_(memory) { memory_.open(); }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;
    ~Access() { memory_.close(); }

   private:
    DeviceMemory& memory_;
  };

 private:
  void open();
  void close();
  void protect_all(int protection);

  std::size_t capacity_bytes_;
  mutable std::mutex mutex_;
  std::unordered_map<std::byte*, std::size_t> blocks_;  // bytes that were asked for
  std::size_t used_bytes_ = 0;
  int accesses_ = 0;
};

}  // namespace phalanx::emulation
