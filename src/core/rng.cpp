// SPDX-License-Identifier: Apache-2.0
#include "core/rng.hpp"

#include <bit>
#include <cmath>
#include <numbers>

namespace phalanx {

std::array<std::uint32_t, 4> philox(std::uint64_t key, std::array<std::uint32_t, 4> c) noexcept {
  PhiloxState state{{c[0], c[1], c[2], c[3]},
                    {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)}};
  for (int round = 0; round < kPhiloxRounds; ++round) state.round();
  return {state.word[0], state.word[1], state.word[2], state.word[3]};
}

std::array<float, 2> normal_pair(std::uint32_t a, std::uint32_t b) noexcept {
  const float u = 1.0f - uniform01(a);  // (0, 1]
  const float r = std::sqrt(-2.0f * std::log(u));
  const float phi = 2.0f * std::numbers::pi_v<float> * uniform01(b);
  return {r * std::cos(phi), r * std::sin(phi)};
}

Permutation::Permutation(std::uint64_t n, std::uint64_t seed, std::uint64_t epoch) noexcept
    : n_(n), seed_(seed), epoch_(epoch) {
  const int bits = n > 1 ? std::bit_width(n - 1) : 1;
  half_bits_ = (bits + 1) / 2;
}

std::uint64_t Permutation::operator()(std::uint64_t i) const noexcept {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  constexpr int kRounds = 6;
  do {
    std::uint64_t left = i >> half_bits_;
    std::uint64_t right = i & mask;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      const auto word =
          philox(seed_, {static_cast<std::uint32_t>(right), static_cast<std::uint32_t>(right >> 32),
                         static_cast<std::uint32_t>(epoch_),
                         (static_cast<std::uint32_t>(RandomStream::kShuffle) << 8) | round});
      const std::uint64_t mixed = (std::uint64_t{word[1]} << 32 | word[0]) & mask;
      const std::uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    i = left << half_bits_ | right;
  } while (i >= n_);
  return i;
}

}  // namespace phalanx
