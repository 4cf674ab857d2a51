// SPDX-License-Identifier: Apache-2.0
#include "data/partition.hpp"

#include <fmt/format.h>

#include <array>
#include <string>

#include "core/error.hpp"
#include "core/rng.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

// In the order of the enumerators.
constexpr std::array<std::string_view, 4> kNames{"shuffle", "range", "hash", "column"};

}  // namespace

std::string_view name(Partition partition) noexcept {
  return kNames[static_cast<std::size_t>(partition)];
}

Partition parse_partition(std::string_view text) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (text == kNames[i]) return static_cast<Partition>(i);
  const std::array<std::string, 4> names{"shuffle", "range", "hash", "column"};
  throw ConfigError(fmt::format("partition: expected {}, found '{}'; did you mean '{}'?",
                                fmt::join(kNames, ", "), text, nearest(text, names)));
}

int hash_owner(std::int64_t row, int size) noexcept {
  const auto id = static_cast<std::uint64_t>(row);
  // 0xff keeps these bits apart from the rounds of Permutation.
  constexpr std::uint32_t kPurpose =
      static_cast<std::uint32_t>(RandomStream::kShuffle) << 8 | 0xffu;
  const auto word = philox(
      0, {static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(id >> 32), 0, kPurpose});
  return static_cast<int>((std::uint64_t{word[1]} << 32 | word[0]) %
                          static_cast<std::uint64_t>(size));
}

}  // namespace phalanx
