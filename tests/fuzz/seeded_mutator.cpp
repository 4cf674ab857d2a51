// SPDX-License-Identifier: Apache-2.0
// libFuzzer begins with nothing and would have to find a whole valid input by itself. Here it gets the seeds of the target.
#include <algorithm>
#include <cstring>

#include "fuzz.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned int random) {
  static const std::vector<std::string> seeds = fuzz_seeds();
  constexpr unsigned kNowAndThen = 128;
  if (size <= 1 || random % kNowAndThen == 0) {
    const std::string& seed = seeds[random / kNowAndThen % seeds.size()];
    size = std::min(seed.size(), most);
    std::memcpy(data, seed.data(), size);
  }
  return LLVMFuzzerMutate(data, size, most);
}
