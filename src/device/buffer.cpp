// SPDX-License-Identifier: Apache-2.0
#include "device/buffer.hpp"

#include <fmt/format.h>

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.hpp"
#include "device/backend.hpp"

namespace phalanx {
namespace {

// Arenas are walked end to end every step: 2 MiB pages save most of their TLB misses.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::byte* allocate_on_host(std::size_t size_bytes) {
  const bool huge = size_bytes >= 2 * kHugePage;
  const std::size_t alignment = huge ? kHugePage : kBufferAlignment;
  const std::size_t rounded = align_up(size_bytes, alignment);
  auto* data = rounded < size_bytes
                   ? nullptr
                   : static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (data == nullptr)
    throw OutOfMemory(fmt::format("no {} bytes of host memory for a buffer", size_bytes));
  if (huge) (void)madvise(data, rounded, MADV_HUGEPAGE);  // a hint: failure costs speed only
  return data;
}

}  // namespace

Buffer::Buffer(std::size_t size_bytes, Stream& stream, std::string_view what)
    : size_bytes_(size_bytes) {
  if (size_bytes == 0) return;
  DeviceBackend* backend = stream.device().backend;
  if (backend == nullptr) {  // freed at once: every earlier call has completed
    data_ = allocate_on_host(size_bytes);
    return;
  }
  try {
    data_ = backend->allocate(size_bytes, stream.handle());
  } catch (const OutOfMemory& e) {
    throw OutOfMemory(fmt::format("{}: {}", what, e.what()));
  }
  stream_ = &stream;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      stream_(std::exchange(other.stream_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
    stream_ = std::exchange(other.stream_, nullptr);
  }
  return *this;
}

Buffer::~Buffer() { release(); }

void Buffer::release() noexcept {
  if (stream_ == nullptr)
    std::free(data_);
  else
    stream_->device().backend->free(data_, stream_->handle());
}

PinnedBuffer::PinnedBuffer(std::size_t size_bytes, Device device)
    : size_bytes_(size_bytes), backend_(device.backend) {
  if (size_bytes == 0) return;
  data_ =
      backend_ == nullptr ? allocate_on_host(size_bytes) : backend_->allocate_pinned(size_bytes);
}

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      backend_(other.backend_) {}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
    backend_ = other.backend_;
  }
  return *this;
}

PinnedBuffer::~PinnedBuffer() { release(); }

void PinnedBuffer::release() noexcept {
  if (data_ == nullptr) return;
  if (backend_ == nullptr)
    std::free(data_);
  else
    backend_->free_pinned(data_);
}

Pin::Pin(std::byte* memory, std::size_t size_bytes, Device device) : backend_(device.backend) {
  if (backend_ != nullptr && size_bytes > 0 && backend_->pin(memory, size_bytes)) memory_ = memory;
}

Pin::~Pin() {
  if (memory_ != nullptr) backend_->unpin(memory_);
}

void upload(std::span<const std::byte> host, std::byte* device, Stream& stream) {
  if (host.empty()) return;
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr)
    backend->upload(host.data(), device, host.size(), stream.handle());
  else
    std::memcpy(device, host.data(), host.size());
}

void download(const std::byte* device, std::span<std::byte> host, Stream& stream) {
  if (host.empty()) return;
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr)
    backend->download(device, host.data(), host.size(), stream.handle());
  else
    std::memcpy(host.data(), device, host.size());
}

void copy_bytes(const std::byte* from, std::byte* to, std::size_t size_bytes, Stream& stream) {
  if (size_bytes == 0) return;
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr)
    backend->copy(from, to, size_bytes, stream.handle());
  else
    std::memcpy(to, from, size_bytes);
}

void fill_zero(std::byte* memory, std::size_t size_bytes, Stream& stream) {
  if (size_bytes == 0) return;
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr)
    backend->fill_zero(memory, size_bytes, stream.handle());
  else
    std::memset(memory, 0, size_bytes);
}

std::byte* Workspace::reserve(std::size_t size_bytes) {
  if (size_bytes > buffer_.size_bytes()) {
    buffer_ = Buffer();
    buffer_ = Buffer(size_bytes, stream_, what_);
  }
  return buffer_.data();
}

}  // namespace phalanx
