// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "common/lanes.hpp"
#include "core/rng.hpp"

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
    PhiloxState state{{lanes.first[lane], c1, c2, c3}, {key0, key1}};
#pragma GCC unroll 10
    for (int round = 0; round < kPhiloxRounds; ++round) state.round();
    for (int j = 0; j < 4; ++j) lanes.word[j][lane] = state.word[j];
  }
}

}  // namespace phalanx
