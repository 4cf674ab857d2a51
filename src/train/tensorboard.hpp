// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace phalanx {

/// CRC-32C (Castagnoli): reflected polynomial 0x82F63B78, start and final inversion.
/// Source    RFC 3720, appendix B.4.
std::uint32_t crc32c(std::string_view bytes) noexcept;

/// The sum as TFRecord stores it: rotated right by 15 bits, plus 0xa282ead8. A sum over bytes that
/// hold their own sum is weak; the mask avoids that.
std::uint32_t masked_crc32c(std::string_view bytes) noexcept;

/// One TFRecord, little-endian: u64 length, u32 masked sum of the length, the payload, u32 masked
/// sum of the payload.
std::string tfrecord(std::string_view payload);

/// Writes scalars as a TensorBoard event file `events.out.tfevents.<unix time>.<host>`.
///
/// Format    TFRecords, each a protobuf message Event: wall_time 1 (double), step 2 (int64),
///           file_version 3 (string), summary 5, session_log 7. The first has the file version
///           "brain.Event:2". Numbers become f32, which is all that `simple_value` holds; NaN and
///           infinity are kept.
/// Resume    TensorBoard joins all event files of a folder. With a resume step the second record is
///           a session start, which makes it drop what earlier files say about that step and later
///           ones; pass the first step that will be written again.
class TensorBoardWriter {
 public:
  /// Creates the folder if needed and a new file in it; an existing file is never touched: the time
  /// in the name is moved on until it is free.
  /// Throws    IoError.
  explicit TensorBoardWriter(const std::string& folder,
                             std::optional<std::int64_t> resume_step = std::nullopt,
                             std::time_t now = std::time(nullptr));

  /// One event with a scalar per entry, flushed. `wall_seconds` is unix time; tags with '/' are
  /// grouped by what stands before it ("loss/train").
  /// Throws    IoError if it cannot be written (disk full).
  void write(std::int64_t step, double wall_seconds,
             std::span<const std::pair<std::string_view, double>> scalars);

  const std::string& path() const noexcept { return path_; }

 private:
  void put(std::string_view event);

  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace phalanx
