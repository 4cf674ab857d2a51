// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace phalanx::operators_test {

/// Memory of one operand between two guards of 256 bytes. Guards and fresh contents are NaNs in f32
/// and in bf16, different at every place: a kernel that reads outside its operands computes NaN,
/// one that writes there is found by damage().
class GuardedBuffer {
 public:
  static constexpr std::size_t kGuardBytes = 256;

  /// The contents start `misalignment` bytes behind a multiple of 256: operands of a plan are only
  /// sure of 64 bytes.
  explicit GuardedBuffer(std::size_t size_bytes, std::size_t misalignment = 64)
      : bytes_(size_bytes + 2 * kGuardBytes + 256 + misalignment), size_bytes_(size_bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data()) + kGuardBytes;
    begin_ = kGuardBytes + (256 - address % 256) % 256 + misalignment;
    poison(begin_ - kGuardBytes, begin_ + size_bytes_ + kGuardBytes);
  }
  GuardedBuffer(GuardedBuffer&&) = default;
  GuardedBuffer& operator=(GuardedBuffer&&) = default;

  std::byte* data() noexcept { return bytes_.data() + begin_; }
  std::span<std::byte> contents() noexcept { return {data(), size_bytes_}; }
  std::span<const std::byte> contents() const noexcept {
    return {bytes_.data() + begin_, size_bytes_};
  }

  /// Guards and contents, for a copy on a device.
  std::span<std::byte> all() noexcept {
    return {bytes_.data() + begin_ - kGuardBytes, size_bytes_ + 2 * kGuardBytes};
  }

  void poison_contents() { poison(begin_, begin_ + size_bytes_); }

  /// Says which guard bytes have changed; empty if none has.
  std::string damage() const {
    std::string text;
    std::size_t before = 0, after = 0;
    for (std::size_t i = begin_ - kGuardBytes; i < begin_; ++i) before += bytes_[i] != poison_at(i);
    for (std::size_t i = begin_ + size_bytes_; i < begin_ + size_bytes_ + kGuardBytes; ++i)
      after += bytes_[i] != poison_at(i);
    if (before > 0) text += std::to_string(before) + " bytes written before the buffer; ";
    if (after > 0) text += std::to_string(after) + " bytes written behind the buffer; ";
    return text;
  }

 private:
  // Little-endian halves 0xffc0 ... 0xffff: a NaN whether read as bf16 or, two of them, as f32.
  std::byte poison_at(std::size_t i) const noexcept {
    const std::size_t place = i + kGuardBytes - begin_;
    return place % 2 == 0 ? static_cast<std::byte>(0xc0 | (place / 2 % 64)) : std::byte{0xff};
  }

  void poison(std::size_t first, std::size_t last) {
    constexpr std::size_t kPeriod = 128;
    for (std::size_t i = first; i < std::min(first + kPeriod, last); ++i) bytes_[i] = poison_at(i);
    for (std::size_t i = first + kPeriod; i < last; i += kPeriod)
      std::memcpy(bytes_.data() + i, bytes_.data() + first, std::min(kPeriod, last - i));
  }

  std::vector<std::byte> bytes_;
  std::size_t size_bytes_;
  std::size_t begin_ = 0;
};

}  // namespace phalanx::operators_test
