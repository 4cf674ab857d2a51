// SPDX-License-Identifier: Apache-2.0
#include "emulation/device_memory.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace phalanx::emulation {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsProtected = false;
#else
constexpr bool kIsProtected = true;
#endif

constexpr std::size_t kPage = 4096;
constexpr std::size_t kAlignment = 256;

std::size_t rounded(std::size_t size_bytes, std::size_t to) {
  return (size_bytes + to - 1) / to * to;
}

}  // namespace

DeviceMemory::~DeviceMemory() {
  while (!blocks_.empty()) free(blocks_.begin()->first);
}

std::byte* DeviceMemory::allocate(std::size_t size_bytes) {
  const std::lock_guard lock(mutex_);
  if (size_bytes > capacity_bytes_ - used_bytes_) return nullptr;
  void* memory = nullptr;
  if (kIsProtected) {
    // A page that nobody may touch lies behind it.
    const std::size_t bytes = rounded(size_bytes, kPage);
    memory =
        mmap(nullptr, bytes + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    (void)mprotect(memory, bytes, PROT_READ | PROT_WRITE);
    std::memset(memory, 0xff, bytes);
    if (accesses_ == 0) (void)mprotect(memory, bytes, PROT_NONE);
  } else {
    if (posix_memalign(&memory, kAlignment, size_bytes) != 0) return nullptr;
    std::memset(memory, 0xff, size_bytes);
  }
  used_bytes_ += size_bytes;
  blocks_.emplace(static_cast<std::byte*>(memory), size_bytes);
  return static_cast<std::byte*>(memory);
}

void DeviceMemory::free(std::byte* memory) {
  const std::lock_guard lock(mutex_);
  const auto block = blocks_.find(memory);
  if (block == blocks_.end()) return;
  used_bytes_ -= block->second;
  if (kIsProtected)
    (void)munmap(memory, rounded(block->second, kPage) + kPage);
  else
    std::free(memory);
  blocks_.erase(block);
}

std::size_t DeviceMemory::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

void DeviceMemory::open() {
  const std::lock_guard lock(mutex_);
  if (accesses_++ == 0) protect_all(PROT_READ | PROT_WRITE);
}

void DeviceMemory::close() {
  const std::lock_guard lock(mutex_);
  if (--accesses_ == 0) protect_all(PROT_NONE);
}

void DeviceMemory::protect_all(int protection) {
  if (!kIsProtected) return;
  for (const auto& [memory, bytes] : blocks_)
    (void)mprotect(memory, rounded(bytes, kPage), protection);
}

}  // namespace phalanx::emulation
