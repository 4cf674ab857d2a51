// SPDX-License-Identifier: Apache-2.0
#include "data/csv.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (char delimiter : {',', ' '})
    phalanx::expect_only_refusals([&] { phalanx::parse_csv(text, "input", delimiter); });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"a,b,c\n1,2,3\n4,5,6\n", "\"x \"\"y\"\"\",\"line\nbreak\"\r\n1,\r\n",
          " 1.5  2e-3\t-7 \n\n3 4 5"};
}
