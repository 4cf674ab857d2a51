// SPDX-License-Identifier: Apache-2.0
#include "data/tar.hpp"

#include <array>
#include <cstring>

#include "data/import_bytes.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    const std::span bytes{reinterpret_cast<const std::byte*>(data), size};
    phalanx::TarReader reader(phalanx::unpacked_bytes(phalanx::memory_bytes(bytes, "input")));
    phalanx::TarEntry entry;
    while (reader.next(entry))
      if (entry.kind == phalanx::TarEntry::Kind::kFile) reader.content(1 << 20);
  });
  return 0;
}

namespace {

/// One entry of a ustar archive.
std::string entry(const std::string& name, char kind, const std::string& content) {
  std::array<char, 512> header{};
  std::memcpy(header.data(), name.data(), std::min<std::size_t>(name.size(), 100));
  std::snprintf(header.data() + 100, 8, "%07o", 0644);
  std::snprintf(header.data() + 124, 12, "%011zo", content.size());
  header[156] = kind;
  std::memcpy(header.data() + 257, "ustar\00000", 8);
  std::memset(header.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(header.data() + 148, 8, "%06o", sum);
  std::string padded = content;
  padded.resize((content.size() + 511) / 512 * 512, '\0');
  return std::string(header.data(), header.size()) + padded;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const std::string end(1024, '\0');
  return {entry("train/cat/1.png", '0', "hello") + entry("train/", '5', "") + end,
          entry("pax", 'x', "19 path=train/a.jpg\n") + entry("x", '0', std::string(700, 'z')) + end,
          entry("././@LongLink", 'L', std::string(150, 'n')) + entry("short", '0', "1") + end};
}
