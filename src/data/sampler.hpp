// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "data/partition.hpp"

namespace phalanx {

/// What one rank computes in one micro-batch.
struct BatchSlice {
  std::int64_t epoch = 0;
  std::int64_t step = 0;           ///< within the epoch
  std::int64_t micro = 0;          ///< within the step
  std::vector<std::int64_t> rows;  ///< row numbers of this rank's samples, in order
  std::int64_t first_row = 0;      ///< place of rows[0] in the global batch; no gaps after it
  std::int64_t micro_rows = 0;     ///< samples of this micro-batch, over all ranks
  std::int64_t global_rows = 0;    ///< samples of the whole step, over all ranks and micro-batches

  bool is_empty() const noexcept { return rows.empty(); }
};

struct SamplerOptions {
  std::int64_t rows = 0;  ///< of the whole data set
  Partition partition = Partition::kShuffle;
  std::int64_t batch_size = 1;     ///< samples per step over all ranks
  std::int64_t micro_batches = 1;  ///< per step
  int rank = 0;
  int size = 1;
  /// kShuffle: a micro-batch is cut into so many shards by share_of, and the shards go to ranks in equal numbers; 0: it is
  /// cut into ranks.
  int virtual_shards = 0;
  std::uint64_t seed = 1;
  bool shuffle = true;  ///< false: ascending row numbers, as for evaluation
};

/// Says which rows each rank takes in each step. A pure function of the options and (epoch, step,
/// micro): it has no position, needs no communication, and any point of a run can be asked for
/// first.
///
/// Every row comes exactly once per epoch. The last batch of an epoch may be short and is never
/// dropped; a rank may get an empty slice, above all when there are more ranks than samples.
///
/// kShuffle  the epoch's order is cut into batches of batch_size; a batch into micro-batches, a
///           micro-batch into ranks, each time by share_of. The order is the same for every rank
///           count, batch size and micro-batch count.
/// kRange    each rank walks through its own rows in batches of share_of(batch_size, rank, size); a
///           step's global batch is the union of these, ordered by micro-batch, then rank. A rank
///           that is through has empty slices.
/// kHash     the same with other owners.
/// kColumn   every rank gets what one rank would get under kShuffle.
///
/// Memory    kHash keeps the row numbers this rank owns, the others O(size) at most.
class Sampler {
 public:
  /// Throws    InvalidArgument if a number is out of range or ranks do not divide virtual shards; ConfigError if kRange
  ///           or kHash has fewer samples per batch than ranks.
  explicit Sampler(const SamplerOptions& options);

  const SamplerOptions& options() const noexcept { return options_; }
  /// Equal on all ranks; at least 1.
  std::int64_t steps_per_epoch() const noexcept { return steps_; }
  /// The longest slice any rank ever gets.
  std::int64_t max_rows() const noexcept { return max_rows_; }

  /// Fills `slice`. Allocates nothing once slice.rows has the capacity for max_rows().
  /// Throws    InvalidArgument outside epoch >= 0, [0, steps_per_epoch()), [0, micro_batches).
  void slice(std::int64_t epoch, std::int64_t step, std::int64_t micro, BatchSlice& slice) const;

  /// A hash of the row numbers of all ranks in global order (step, micro-batch, rank): equal
  /// orders, equal hashes. Takes the time of a whole epoch of all ranks; for tests and reports.
  std::uint64_t order_hash(std::int64_t epoch) const;

 private:
  void plan_shared_order();
  void plan_owned_rows();
  Range rows_of_rank(std::int64_t micro_rows) const noexcept;
  void slice_of_shared_order(BatchSlice& slice) const;
  void slice_of_owned_rows(BatchSlice& slice) const;
  Range owned_step(int rank, std::int64_t step) const noexcept;

  SamplerOptions options_;
  std::int64_t steps_ = 0;
  std::int64_t max_rows_ = 0;
  std::uint64_t rank_seed_ = 0;             // kRange, kHash: orders the rows of this rank
  std::vector<std::int64_t> owned_counts_;  // kRange, kHash: rows per rank
  std::vector<std::int64_t> owned_rows_;    // kHash: of this rank
};

}  // namespace phalanx
