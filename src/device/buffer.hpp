// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "device/stream.hpp"

namespace phalanx {

inline constexpr std::size_t kBufferAlignment = 256;

/// Rounds up to a multiple of kBufferAlignment.
constexpr std::size_t align_up(std::size_t size_bytes,
                               std::size_t alignment = kBufferAlignment) noexcept {
  return (size_bytes + alignment - 1) / alignment * alignment;
}

/// Owns size_bytes of uninitialised memory of a stream's device, aligned to 256 bytes, freed in the order of that stream,
/// which outlives it. Move-only; a moved-from buffer is empty.
class Buffer {
 public:
  Buffer() noexcept = default;
  /// Zero bytes are valid and hold nullptr.
  /// Throws    OutOfMemory that says `what` there was no memory for.
  Buffer(std::size_t size_bytes, Stream& stream, std::string_view what = "a buffer");
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  std::byte* data() const noexcept { return data_; }
  std::size_t size_bytes() const noexcept { return size_bytes_; }

 private:
  void release() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
  Stream* stream_ = nullptr;  // of a device with a backend
};

/// Owns host memory from which and to which a device copies without staging. Move-only.
class PinnedBuffer {
 public:
  PinnedBuffer() noexcept = default;
  /// Throws    OutOfMemory.
  PinnedBuffer(std::size_t size_bytes, Device device);
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  ~PinnedBuffer();

  std::byte* data() const noexcept { return data_; }
  std::size_t size_bytes() const noexcept { return size_bytes_; }

 private:
  void release() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
  DeviceBackend* backend_ = nullptr;
};

/// While it lives, host memory that somebody else owns is as if it were a PinnedBuffer's, where the device can do that.
class Pin {
 public:
  Pin(std::byte* memory, std::size_t size_bytes, Device device);
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  ~Pin();

  bool holds() const noexcept { return memory_ != nullptr; }

 private:
  std::byte* memory_ = nullptr;  // null: the device cannot
  DeviceBackend* backend_;
};

/// Copies between the host and the stream's device, in the order of the stream. What lies in a PinnedBuffer has to stay until
/// the stream has come past; other host memory is free when upload() returns, and holds the bytes when download() does.
void upload(std::span<const std::byte> host, std::byte* device, Stream& stream);
void download(const std::byte* device, std::span<std::byte> host, Stream& stream);
/// The same between two places of the stream's device, which do not overlap; and zeros.
void copy_bytes(const std::byte* from, std::byte* to, std::size_t size_bytes, Stream& stream);
void fill_zero(std::byte* memory, std::size_t size_bytes, Stream& stream);

/// Scratch memory that several plans share: it only ever grows, and what it held is lost when it does.
class Workspace {
 public:
  /// `what`: for errors.
  explicit Workspace(Stream& stream, std::string_view what = "scratch memory") noexcept
      : stream_(stream), what_(what) {}
  /// At least `size_bytes` bytes, valid until the next call that asks for more.
  std::byte* reserve(std::size_t size_bytes);
  std::size_t size_bytes() const noexcept { return buffer_.size_bytes(); }

 private:
  Stream& stream_;
  std::string_view what_;
  Buffer buffer_;
};

}  // namespace phalanx
