// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace phalanx {

/// Bytes that are read once, from front to back.
class ByteSource {
 public:
  explicit ByteSource(std::string name) : name_(std::move(name)) {}
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;

  /// Up to out.size() bytes; 0 only at the end, or for an empty `out`.
  /// Throws    IoError if the system cannot read; InvalidInput if compressed bytes are damaged or
  /// cut short.
  virtual std::size_t read(std::span<std::byte> out) = 0;
  /// For messages.
  const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
};

/// A file as it is.
/// Throws    IoError if it cannot be opened.
std::unique_ptr<ByteSource> file_bytes(const std::string& path);
/// Memory of the caller, who keeps it.
std::unique_ptr<ByteSource> memory_bytes(std::span<const std::byte> bytes, std::string name);
/// What gzip or xz packed, recognised by its first bytes and unpacked in pieces; anything else as
/// it is.
std::unique_ptr<ByteSource> unpacked_bytes(std::unique_ptr<ByteSource> packed);
/// unpacked_bytes of file_bytes.
std::unique_ptr<ByteSource> open_bytes(const std::string& path);

/// Fills `out` and returns its size, or less where the source ends.
std::size_t read_up_to(ByteSource& source, std::span<std::byte> out);
/// Everything that is left.
/// Throws    InvalidInput beyond `most_bytes`.
std::vector<std::byte> read_all(ByteSource& source, std::size_t most_bytes);

}  // namespace phalanx
