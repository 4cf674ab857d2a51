// SPDX-License-Identifier: Apache-2.0
#include "formats/seal.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"
#include "formats/sha256.hpp"

namespace phalanx {
namespace {

constexpr std::string_view kMagic = "phalanx sealed file 1";

struct Content {
  std::uint64_t size_bytes = 0;
  std::string sha256;
};

/// What stands behind the seal.
Content content_of(std::istream& file) {
  Content content;
  Sha256 hash;
  std::vector<char> piece(std::size_t{1} << 20);
  file.clear();
  file.seekg(kSealBytes);
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const auto count = static_cast<std::size_t>(file.gcount());
    hash.update(std::as_bytes(std::span(piece.data(), count)));
    content.size_bytes += count;
  }
  content.sha256 = hash.hex();
  return content;
}

}  // namespace

void seal_file(const std::string& path) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const Content content = content_of(file);
  std::string seal =
      fmt::format("{}\nsize {}\nsha256 {}\n", kMagic, content.size_bytes, content.sha256);
  seal.resize(kSealBytes, '\0');
  file.clear();
  file.seekp(0);
  file.write(seal.data(), static_cast<std::streamsize>(seal.size()));
  if (!file.flush()) throw IoError(fmt::format("{}: cannot write: {}", path, std::strerror(errno)));
}

void verify_seal(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  std::array<char, kSealBytes> block{};
  file.read(block.data(), block.size());
  const auto lines =
      split(std::string_view(block.data(), static_cast<std::size_t>(file.gcount())), '\n');
  if (lines.size() < 4 || lines[0] != kMagic || !lines[1].starts_with("size ") ||
      !lines[2].starts_with("sha256 "))
    throw InvalidInput(
        fmt::format("{}: not a Phalanx checkpoint, or its first bytes are damaged", path));
  const std::string_view size = lines[1].substr(5), sha256 = lines[2].substr(7);
  const Content content = content_of(file);
  if (size != fmt::format("{}", content.size_bytes))
    throw InvalidInput(
        fmt::format("{}: truncated or overwritten: expected {} bytes behind its seal, found {}",
                    path, size, content.size_bytes));
  if (sha256 != content.sha256)
    throw InvalidInput(fmt::format("{}: damaged: its SHA-256 is {}..., expected {}...", path,
                                   content.sha256.substr(0, 16), sha256.substr(0, 16)));
}

}  // namespace phalanx
