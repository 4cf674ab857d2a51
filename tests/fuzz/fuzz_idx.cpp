// SPDX-License-Identifier: Apache-2.0
#include "data/import_idx.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    phalanx::parse_idx({reinterpret_cast<const std::byte*>(data), size}, "input");
  });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  using namespace std::string_literals;
  return {"\0\0\x08\x01\0\0\0\x03\x01\x02\x03"s,
          "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x02\x01\x02\x03\x04\x05\x06\x07\x08"s,
          "\x1f\x8b\x08\0\0\0\0\0\0\x03\x63\x60\xe0\x60\x64\x60\x60\x60\x06\0\0\0\0\0"s,
          "\xfd"
          "7zXZ\0\0\x04"s};
}
