// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "comm/rank_layout.hpp"

namespace phalanx {

/// How the rows (or columns) of a data set are dealt out to the ranks.
enum class Partition : std::uint8_t {
  kShuffle,  ///< one global order per epoch, cut into batches, micro-batches and ranks; does not
             ///< depend on the rank count
  kRange,    ///< rank r owns the r-th contiguous share of the rows and orders it by itself
  kHash,     ///< a hash of the row number names the owner, who orders its rows by itself
  kColumn,   ///< every rank sees every row, but only its share of the feature columns
};

/// "shuffle", "range", "hash" or "column".
std::string_view name(Partition partition) noexcept;

/// Throws    ConfigError naming the four choices.
Partition parse_partition(std::string_view text);

/// The rank that owns a row under kHash: depends on (row, size) alone, not on a seed.
int hash_owner(std::int64_t row, int size) noexcept;

/// The feature columns of one rank under kColumn.
inline Range columns(std::int64_t features, int rank, int size) noexcept {
  return share_of(features, rank, size);
}

}  // namespace phalanx
