// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/import_bytes.hpp"

namespace phalanx {

struct TarEntry {
  enum class Kind : std::uint8_t { kFile, kFolder, kOther };
  Kind kind = Kind::kFile;
  std::string name;  ///< as in the archive; nothing is ever written under it
  std::uint64_t size_bytes = 0;
};

/// Reads a tar archive from front to back: ustar, with the long names and sizes of GNU tar and pax.
///
/// Throws    InvalidInput naming archive and position for a wrong checksum or number, or an archive that is cut
///           short.
/// Source    POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format".
class TarReader {
 public:
  explicit TarReader(std::unique_ptr<ByteSource> bytes) : bytes_(std::move(bytes)) {}

  /// The next entry; false at the end. What the caller did not read of the last one is skipped.
  bool next(TarEntry& entry);
  /// The content of the current entry.
  /// Throws    InvalidInput if it is larger than `most_bytes`.
  std::vector<std::byte> content(std::uint64_t most_bytes);

 private:
  using Header = std::vector<std::byte>;

  bool read_header(Header& header);
  std::uint64_t number(const Header& header, std::size_t at, std::size_t width) const;
  void read_pax(const std::vector<std::byte>& records, TarEntry& overrides, bool& has_size) const;
  void skip(std::uint64_t count);
  [[noreturn]] void fail(const std::string& what) const;

  std::unique_ptr<ByteSource> bytes_;
  std::uint64_t at_ = 0;       // bytes read
  std::uint64_t left_ = 0;     // of the current entry
  std::uint64_t padding_ = 0;  // behind it
  std::string current_;
};

}  // namespace phalanx
