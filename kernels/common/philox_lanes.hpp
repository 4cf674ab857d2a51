// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "common/lanes.hpp"

namespace phalanx {

/// The four words of kLanes counters: word[j][lane] = philox(key, {first[lane], c1, c2, c3})[j].
struct PhiloxLanes {
  std::uint32_t first[kLanes];
  std::uint32_t word[4][kLanes];
};

/// philox() of core/rng.hpp for many counters at once, in a loop that vectorises.
inline void philox_lanes(std::uint64_t key, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                         PhiloxLanes& lanes) noexcept {
  const auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
  for (int lane = 0; lane < kLanes; ++lane) {
    std::uint32_t a = lanes.first[lane], b = c1, c = c2, d = c3, k0 = key0, k1 = key1;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * a, p1 = std::uint64_t{0xCD9E8D57u} * c;
      a = static_cast<std::uint32_t>(p1 >> 32) ^ b ^ k0;
      b = static_cast<std::uint32_t>(p1);
      c = static_cast<std::uint32_t>(p0 >> 32) ^ d ^ k1;
      d = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    lanes.word[0][lane] = a;
    lanes.word[1][lane] = b;
    lanes.word[2][lane] = c;
    lanes.word[3][lane] = d;
  }
}

}  // namespace phalanx
