// SPDX-License-Identifier: Apache-2.0
#include "device/buffer.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <utility>

#include "core/error.hpp"

namespace phalanx {
namespace {

// Arenas are walked end to end every step: 2 MiB pages save most of their TLB misses.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

Stream::Stream(Device device) : device_(device) {
  if (device.kind != DeviceKind::kCpu)
    throw Unsupported("this build has no CUDA backend: use device = cpu");
}

Buffer::Buffer(std::size_t size_bytes, Stream& stream) : size_bytes_(size_bytes) {
  (void)stream;  // CPU memory is freed at once: every earlier call has completed
  if (size_bytes == 0) return;
  const bool huge = size_bytes >= 2 * kHugePage;
  const std::size_t alignment = huge ? kHugePage : kBufferAlignment;
  const std::size_t rounded = align_up(size_bytes, alignment);
  data_ = rounded < size_bytes ? nullptr
                               : static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (data_ == nullptr)
    throw OutOfMemory(fmt::format("no {} bytes of host memory for a buffer", size_bytes));
  if (huge) (void)madvise(data_, rounded, MADV_HUGEPAGE);  // a hint: failure costs speed only
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    std::free(data_);
    data_ = std::exchange(other.data_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
  }
  return *this;
}

Buffer::~Buffer() { std::free(data_); }

std::byte* Workspace::reserve(std::size_t size_bytes) {
  if (size_bytes > buffer_.size_bytes()) {
    buffer_ = Buffer();
    buffer_ = Buffer(size_bytes, stream_);
  }
  return buffer_.data();
}

}  // namespace phalanx
