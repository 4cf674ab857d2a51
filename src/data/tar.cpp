// SPDX-License-Identifier: Apache-2.0
#include "data/tar.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::uint64_t kMostNameBytes = std::uint64_t{1} << 20;

// Where the fields of a header stand.
constexpr std::size_t kName = 0, kNameWidth = 100;
constexpr std::size_t kSize = 124, kSizeWidth = 12;
constexpr std::size_t kChecksum = 148, kChecksumWidth = 8;
constexpr std::size_t kType = 156;
constexpr std::size_t kMagic = 257;
constexpr std::size_t kPrefix = 345, kPrefixWidth = 155;

// Up to the first zero.
std::string_view text(const std::vector<std::byte>& header, std::size_t at, std::size_t width) {
  const std::string_view field(reinterpret_cast<const char*>(header.data()) + at, width);
  return field.substr(0, field.find('\0'));
}

std::uint64_t padded(std::uint64_t size) { return (kBlock - size % kBlock) % kBlock; }

TarEntry::Kind kind_of(char type, const std::string& name) {
  const bool file = type == '0' || type == '\0' || type == '7';
  if (type == '5' || (file && name.ends_with('/'))) return TarEntry::Kind::kFolder;
  return file ? TarEntry::Kind::kFile : TarEntry::Kind::kOther;
}

}  // namespace

void TarReader::fail(const std::string& what) const {
  throw InvalidInput(fmt::format("{}: tar archive, byte {}{}{}: {}", bytes_->name(), at_,
                                 current_.empty() ? "" : ", ", current_, what));
}

std::uint64_t TarReader::number(const Header& header, std::size_t at, std::size_t width) const {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  std::uint64_t value = 0;
  if ((std::to_integer<unsigned>(header[at]) & 0x80u) != 0) {  // GNU: binary, big-endian
    for (std::size_t i = at; i < at + width; ++i) {
      const auto byte = std::to_integer<std::uint64_t>(header[i]) & (i == at ? 0x7fu : 0xffu);
      if (value > kMost >> 8) fail("a number is too large");
      value = value << 8 | byte;
    }
    return value;
  }
  for (const char c : trim(text(header, at, width))) {
    if (c < '0' || c > '7') fail("a number holds a digit that is not octal");
    value = value << 3 | static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

void TarReader::skip(std::uint64_t count) {
  std::array<std::byte, 4096> waste{};
  while (count > 0) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(count, waste.size()));
    const std::size_t got = read_up_to(*bytes_, std::span(waste).first(n));
    at_ += got;
    if (got != n) fail("the archive is cut short");
    count -= n;
  }
}

// False at the end: a block of zeros, or no block at all.
bool TarReader::read_header(Header& header) {
  skip(left_ + padding_);
  left_ = padding_ = 0;
  current_.clear();
  header.assign(kBlock, std::byte{0});
  const std::size_t n = read_up_to(*bytes_, header);
  at_ += n;
  if (n == 0) {
    if (at_ == 0) fail("the file is empty");
    return false;
  }
  if (n != kBlock) fail("the archive is cut short");
  if (std::all_of(header.begin(), header.end(), [](std::byte b) { return b == std::byte{0}; }))
    return false;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i)
    sum += i >= kChecksum && i < kChecksum + kChecksumWidth
               ? ' '
               : std::to_integer<std::uint64_t>(header[i]);
  if (number(header, kChecksum, kChecksumWidth) != sum) fail("wrong checksum of a header");
  left_ = number(header, kSize, kSizeWidth);
  padding_ = padded(left_);
  return true;
}

// Records "<length> <key>=<value>\n", the length counting all of it.
void TarReader::read_pax(const std::vector<std::byte>& records, TarEntry& overrides,
                         bool& has_size) const {
  std::string_view rest(reinterpret_cast<const char*>(records.data()), records.size());
  while (!rest.empty()) {
    const auto blank = rest.find(' ');
    std::int64_t length = 0;
    try {
      length = parse_int(rest.substr(0, blank));
    } catch (const InvalidInput& error) {
      fail(fmt::format("pax record: {}", error.what()));
    }
    if (blank == std::string_view::npos || length <= static_cast<std::int64_t>(blank) + 1 ||
        length > static_cast<std::int64_t>(rest.size()))
      fail(fmt::format("pax record of impossible length {}", length));
    std::string_view record = rest.substr(blank + 1, static_cast<std::size_t>(length) - blank - 1);
    rest.remove_prefix(static_cast<std::size_t>(length));
    if (record.ends_with('\n')) record.remove_suffix(1);
    if (record.starts_with("path=")) overrides.name = record.substr(5);
    if (!record.starts_with("size=")) continue;
    std::int64_t size = 0;
    try {
      size = parse_int(record.substr(5));
    } catch (const InvalidInput& error) {
      fail(fmt::format("pax size: {}", error.what()));
    }
    if (size < 0) fail(fmt::format("pax size {} is negative", size));
    overrides.size_bytes = static_cast<std::uint64_t>(size);
    has_size = true;
  }
}

bool TarReader::next(TarEntry& entry) {
  TarEntry overrides;  // from the entries that describe the one behind them
  bool has_size = false;
  Header header;
  while (read_header(header)) {
    const char type = static_cast<char>(header[kType]);
    if (type == 'L') {
      const auto bytes = content(kMostNameBytes);
      const std::string_view name(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      overrides.name = name.substr(0, name.find('\0'));
      continue;
    }
    if (type == 'x') {
      read_pax(content(kMostNameBytes), overrides, has_size);
      continue;
    }
    if (type == 'g' || type == 'K')
      continue;  // defaults and names of links: nothing that counts here
    if (!overrides.name.empty()) {
      entry.name = overrides.name;
    } else {
      const auto prefix =
          text(header, kMagic, 6) == "ustar" ? text(header, kPrefix, kPrefixWidth) : "";
      entry.name =
          fmt::format("{}{}{}", prefix, prefix.empty() ? "" : "/", text(header, kName, kNameWidth));
    }
    if (has_size) {
      left_ = overrides.size_bytes;
      padding_ = padded(left_);
    }
    entry.kind = kind_of(type, entry.name);
    entry.size_bytes = left_;
    current_ = entry.name;
    return true;
  }
  return false;
}

std::vector<std::byte> TarReader::content(std::uint64_t most_bytes) {
  if (left_ > most_bytes)
    fail(fmt::format("an entry of {} bytes, more than the {} accepted", left_, most_bytes));
  // Grows as data arrives: a header alone cannot make us allocate what the archive does not hold.
  constexpr std::uint64_t kStep = std::uint64_t{1} << 20;
  std::vector<std::byte> bytes;
  while (left_ > 0) {
    const auto n = static_cast<std::size_t>(std::min(left_, kStep));
    const std::size_t done = bytes.size();
    bytes.resize(done + n);
    const std::size_t got = read_up_to(*bytes_, std::span(bytes).subspan(done));
    at_ += got;
    if (got != n) fail("the archive is cut short");
    left_ -= n;
  }
  return bytes;
}

}  // namespace phalanx
