// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target on mutated seeds: `<target> [inputs [seed]]`. Equal arguments give equal inputs.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>

#include "fuzz.hpp"

namespace {

using Generator = std::mt19937_64;

std::size_t below(Generator& generator, std::size_t n) { return n == 0 ? 0 : generator() % n; }

/// One of the changes that parsers trip over: flipped bits, extreme bytes, cuts, repeats, splices.
void mutate(std::string& text, const std::vector<std::string>& seeds, Generator& generator) {
  switch (below(generator, 7)) {
    case 0:
      if (!text.empty())
        text[below(generator, text.size())] ^= static_cast<char>(1u << below(generator, 8));
      break;
    case 1:
      if (!text.empty())
        text[below(generator, text.size())] = "\x00\xff\x7f\x80\n\",= 9"[below(generator, 10)];
      break;
    case 2: text.resize(below(generator, text.size() + 1)); break;
    case 3:
      text.insert(below(generator, text.size() + 1), 1 + below(generator, 8),
                  static_cast<char>(generator()));
      break;
    case 4:
      if (!text.empty()) text.erase(below(generator, text.size()), 1 + below(generator, 16));
      break;
    case 5: {
      const std::string& other = seeds[below(generator, seeds.size())];
      text = text.substr(0, below(generator, text.size() + 1)) +
             other.substr(below(generator, other.size() + 1));
      break;
    }
    case 6:  // a number of several bytes with an extreme value
      if (text.size() >= 4) {
        const std::size_t at = below(generator, text.size() - 3);
        const char fill = generator() % 2 == 0 ? '\xff' : '\x00';
        for (std::size_t i = 0; i < 4; ++i) text[at + i] = i == 0 ? '\x7f' : fill;
      }
      break;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const long inputs = argc > 1 ? std::atol(argv[1]) : 20000;
  Generator generator(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  const std::vector<std::string> seeds = fuzz_seeds();
  const auto run = [](const std::string& text) {
    try {
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    } catch (const std::exception& e) {
      std::ofstream("fuzz_failure.bin", std::ios::binary) << text;
      fmt::print(stderr, "unexpected exception: {}\nthe input is in fuzz_failure.bin ({} bytes)\n",
                 e.what(), text.size());
      std::exit(1);
    }
  };
  for (const std::string& seed : seeds) run(seed);
  for (long i = 0; i < inputs; ++i) {
    std::string text = seeds[below(generator, seeds.size())];
    for (std::size_t n = 1 + below(generator, 4); n > 0; --n) mutate(text, seeds, generator);
    run(text);
  }
  fmt::print("{} inputs from {} seeds, no crash\n", inputs, seeds.size());
}
