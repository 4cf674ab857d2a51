// SPDX-License-Identifier: Apache-2.0
#include "train/tensorboard.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.hpp"

namespace phalanx {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t sum = i;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0x82F63B78U : 0U);
    table[i] = sum;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

template <class Unsigned>
void append_little_endian(std::string& out, Unsigned value) {
  for (std::size_t i = 0; i < sizeof(Unsigned); ++i)
    out += static_cast<char>((value >> (8 * i)) & 0xFF);
}

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}

enum WireType : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_tag(std::string& out, std::uint64_t field, WireType type) {
  append_varint(out, (field << 3) | type);
}

void append_bytes(std::string& out, std::uint64_t field, std::string_view bytes) {
  append_tag(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string event_head(double wall_seconds, std::int64_t step) {
  std::string event;
  append_tag(event, 1, kFixed64);
  append_little_endian(event, std::bit_cast<std::uint64_t>(wall_seconds));
  append_tag(event, 2, kVarint);
  append_varint(event, static_cast<std::uint64_t>(step));
  return event;
}

std::string session_start() {
  std::string log;
  append_tag(log, 1, kVarint);
  append_varint(log, 1);  // SessionLog.START
  return log;
}

std::string scalar_value(std::string_view tag, double value) {
  std::string entry;
  append_bytes(entry, 1, tag);
  append_tag(entry, 2, kFixed32);
  append_little_endian(entry, std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  return entry;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) noexcept {
  std::uint32_t sum = ~0U;
  for (const char c : bytes)
    sum = (sum >> 8) ^ kCrcTable[(sum ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~sum;
}

std::uint32_t masked_crc32c(std::string_view bytes) noexcept {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8U;
}

std::string tfrecord(std::string_view payload) {
  std::string record;
  append_little_endian(record, static_cast<std::uint64_t>(payload.size()));
  append_little_endian(record, masked_crc32c(record));
  record += payload;
  append_little_endian(record, masked_crc32c(payload));
  return record;
}

TensorBoardWriter::TensorBoardWriter(const std::string& folder,
                                     std::optional<std::int64_t> resume_step, std::time_t now)
    : file_(nullptr, &std::fclose) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw IoError(fmt::format("cannot create '{}': {}", folder, error.message()));
  const std::string host = host_name();
  auto time = static_cast<std::int64_t>(now);
  do {
    path_ = fmt::format("{}/events.out.tfevents.{:010}.{}", folder, time++, host);
    file_.reset(std::fopen(path_.c_str(), "wbx"));
  } while (!file_ && errno == EEXIST);
  if (!file_) throw IoError(fmt::format("cannot open '{}': {}", path_, std::strerror(errno)));

  std::string version = event_head(static_cast<double>(now), 0);
  append_bytes(version, 3, "brain.Event:2");
  put(version);
  if (!resume_step) return;
  std::string start = event_head(static_cast<double>(now), *resume_step);
  append_bytes(start, 7, session_start());
  put(start);
}

void TensorBoardWriter::write(std::int64_t step, double wall_seconds,
                              std::span<const std::pair<std::string_view, double>> scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) append_bytes(summary, 1, scalar_value(tag, value));
  std::string event = event_head(wall_seconds, step);
  append_bytes(event, 5, summary);
  put(event);
}

void TensorBoardWriter::put(std::string_view event) {
  const std::string record = tfrecord(event);
  const bool written = std::fwrite(record.data(), 1, record.size(), file_.get()) == record.size() &&
                       std::fflush(file_.get()) == 0;
  if (!written) throw IoError(fmt::format("cannot write '{}': {}", path_, std::strerror(errno)));
}

}  // namespace phalanx
