// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

namespace phalanx {

/// Philox4x32-10: 128 random bits from a 64-bit key and a 128-bit counter, without state. Equal on every rank and device.
/// Source    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC'11.
std::array<std::uint32_t, 4> philox(std::uint64_t key,
                                    std::array<std::uint32_t, 4> counter) noexcept;

/// One of the ten rounds of philox(), for kernels that make many draws at once. constexpr functions are functions of a GPU
/// too.
struct PhiloxState {
  std::uint32_t word[4], key[2];

  constexpr void round() noexcept {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * word[0],
                        p1 = std::uint64_t{0xCD9E8D57u} * word[2];
    word[0] = static_cast<std::uint32_t>(p1 >> 32) ^ word[1] ^ key[0];
    word[1] = static_cast<std::uint32_t>(p1);
    word[2] = static_cast<std::uint32_t>(p0 >> 32) ^ word[3] ^ key[1];
    word[3] = static_cast<std::uint32_t>(p0);
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
};
inline constexpr int kPhiloxRounds = 10;

/// What a draw is for. Different purposes never share random bits under one seed.
enum class RandomStream : std::uint32_t {
  kInit = 1,
  kShuffle = 2,
  kDropout = 3,
  kAugment = 4,
  kSplit = 5
};

/// Uniform in [0, 1) with 24 bits.
constexpr float uniform01(std::uint32_t bits) noexcept {
  return static_cast<float>(bits >> 8) * 0x1.0p-24f;
}

/// Two independent standard normal numbers from two words (Box and Muller).
std::array<float, 2> normal_pair(std::uint32_t a, std::uint32_t b) noexcept;

/// A bijection on [0, n) chosen by (seed, epoch), evaluated at one point without memory: a Feistel network over the next
/// even power of two, with cycle walking. `(*this)(i)` is the sample at place i of the epoch's order.
/// Source    Black, Rogaway: Ciphers with arbitrary finite domains. CT-RSA 2002.
class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t seed, std::uint64_t epoch) noexcept;
  std::uint64_t operator()(std::uint64_t i) const noexcept;  ///< i < n
  std::uint64_t size() const noexcept { return n_; }

 private:
  std::uint64_t n_;
  std::uint64_t seed_;
  std::uint64_t epoch_;
  int half_bits_;
};

}  // namespace phalanx
