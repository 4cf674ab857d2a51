// SPDX-License-Identifier: Apache-2.0
#include "data/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/rng.hpp"

namespace phalanx {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a - 1) / b + 1; }

void check(const SamplerOptions& o) {
  if (o.rows < 1)
    throw InvalidArgument(fmt::format("a sampler needs at least one row, found {}", o.rows));
  if (o.batch_size < 1)
    throw InvalidArgument(fmt::format("batch_size: expected at least 1, found {}", o.batch_size));
  constexpr std::int64_t kMostMicroBatches = std::int64_t{1}
                                             << 30;  // share_of() counts parts in an int
  if (o.micro_batches < 1 || o.micro_batches > kMostMicroBatches)
    throw InvalidArgument(fmt::format("micro-batches: expected 1 to {}, found {}",
                                      kMostMicroBatches, o.micro_batches));
  if (o.size < 1 || o.rank < 0 || o.rank >= o.size)
    throw InvalidArgument(fmt::format("rank {} does not exist among {} ranks", o.rank, o.size));
  if (o.virtual_shards < 0 || o.virtual_shards % o.size != 0 ||
      (o.virtual_shards > 0 && o.partition != Partition::kShuffle))
    throw InvalidArgument(fmt::format("{} virtual shards cannot be cut over {} ranks by {}",
                                      o.virtual_shards, o.size, name(o.partition)));
  const bool owns = o.partition == Partition::kRange || o.partition == Partition::kHash;
  if (owns && o.batch_size < o.size)
    throw ConfigError(fmt::format(
        "partition {} needs a sample per rank and batch: batch_size is {}, the run has {} ranks",
        name(o.partition), o.batch_size, o.size));
}

bool shares_one_order(Partition p) { return p == Partition::kShuffle || p == Partition::kColumn; }

// share_of() takes the counts of ranks; micro-batches are counted the same way.
Range micro_share(std::int64_t total, std::int64_t micro, std::int64_t micros) {
  return share_of(total, static_cast<int>(micro), static_cast<int>(micros));
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  check(options_);
  if (shares_one_order(options_.partition)) {
    plan_shared_order();
  } else {
    plan_owned_rows();
  }
}

void Sampler::plan_shared_order() {
  const auto& o = options_;
  steps_ = divide_up(o.rows, o.batch_size);
  max_rows_ = divide_up(std::min(o.batch_size, o.rows), o.micro_batches);
  if (o.virtual_shards > 0)
    max_rows_ = divide_up(max_rows_, o.virtual_shards) * (o.virtual_shards / o.size);
  else if (o.partition == Partition::kShuffle)
    max_rows_ = divide_up(max_rows_, o.size);
}

void Sampler::plan_owned_rows() {
  const auto& o = options_;
  owned_counts_.assign(static_cast<std::size_t>(o.size), 0);
  if (o.partition == Partition::kRange) {
    for (int r = 0; r < o.size; ++r) owned_counts_[r] = share_of(o.rows, r, o.size).size();
  } else {
    for (std::int64_t row = 0; row < o.rows; ++row) {
      const int owner = hash_owner(row, o.size);
      ++owned_counts_[owner];
      if (owner == o.rank) owned_rows_.push_back(row);
    }
  }
  for (int r = 0; r < o.size; ++r) {
    if (owned_counts_[r] == 0) continue;
    const std::int64_t batch = share_of(o.batch_size, r, o.size).size();
    steps_ = std::max(steps_, divide_up(owned_counts_[r], batch));
    max_rows_ = std::max(max_rows_, divide_up(std::min(batch, owned_counts_[r]), o.micro_batches));
  }
  // 0xfe keeps these bits apart from the rounds of Permutation.
  constexpr std::uint32_t kPurpose =
      static_cast<std::uint32_t>(RandomStream::kShuffle) << 8 | 0xfeu;
  const auto word = philox(o.seed, {static_cast<std::uint32_t>(o.rank), 0, 0, kPurpose});
  rank_seed_ = std::uint64_t{word[1]} << 32 | word[0];
}

void Sampler::slice(std::int64_t epoch, std::int64_t step, std::int64_t micro,
                    BatchSlice& slice) const {
  if (epoch < 0 || step < 0 || step >= steps_ || micro < 0 || micro >= options_.micro_batches)
    throw InvalidArgument(fmt::format("no batch at epoch {}, step {} of {}, micro-batch {} of {}",
                                      epoch, step, steps_, micro, options_.micro_batches));
  slice.epoch = epoch;
  slice.step = step;
  slice.micro = micro;
  slice.rows.clear();
  if (shares_one_order(options_.partition)) {
    slice_of_shared_order(slice);
  } else {
    slice_of_owned_rows(slice);
  }
}

// Which of the rows of a micro-batch this rank takes.
Range Sampler::rows_of_rank(std::int64_t micro_rows) const noexcept {
  const auto& o = options_;
  if (o.partition == Partition::kColumn) return {0, micro_rows};
  if (o.virtual_shards == 0) return share_of(micro_rows, o.rank, o.size);
  const int shards = o.virtual_shards / o.size, first = o.rank * shards;
  return {share_of(micro_rows, first, o.virtual_shards).begin,
          share_of(micro_rows, first + shards - 1, o.virtual_shards).end};
}

void Sampler::slice_of_shared_order(BatchSlice& slice) const {
  const auto& o = options_;
  const std::int64_t batch_begin = slice.step * o.batch_size;
  slice.global_rows = std::min(o.batch_size, o.rows - batch_begin);
  const Range micro = micro_share(slice.global_rows, slice.micro, o.micro_batches);
  const Range mine = rows_of_rank(micro.size());
  slice.micro_rows = micro.size();
  slice.first_row = micro.begin + mine.begin;

  const Permutation order(static_cast<std::uint64_t>(o.rows), o.seed,
                          static_cast<std::uint64_t>(slice.epoch));
  const std::int64_t begin = batch_begin + slice.first_row;
  for (std::int64_t place = begin; place < begin + mine.size(); ++place)
    slice.rows.push_back(
        o.shuffle ? static_cast<std::int64_t>(order(static_cast<std::uint64_t>(place))) : place);
}

// The places in the order of one rank that it visits in one step.
Range Sampler::owned_step(int rank, std::int64_t step) const noexcept {
  const std::int64_t batch = share_of(options_.batch_size, rank, options_.size).size();
  const std::int64_t count = owned_counts_[rank];
  // step * batch may pass the end of a rank with few rows, but not 64 bits: some rank has rows
  // left.
  return {std::min(count, step * batch), std::min(count, (step + 1) * batch)};
}

void Sampler::slice_of_owned_rows(BatchSlice& slice) const {
  const auto& o = options_;
  slice.global_rows = 0;
  slice.micro_rows = 0;
  slice.first_row = 0;
  Range mine;
  for (int r = 0; r < o.size; ++r) {
    const Range places = owned_step(r, slice.step);
    const Range micro = micro_share(places.size(), slice.micro, o.micro_batches);
    slice.global_rows += places.size();
    slice.micro_rows += micro.size();
    slice.first_row += micro.begin;  // earlier micro-batches, all ranks
    if (r < o.rank) slice.first_row += micro.size();
    if (r == o.rank) mine = {places.begin + micro.begin, places.begin + micro.end};
  }
  const auto count = static_cast<std::uint64_t>(owned_counts_[o.rank]);
  const Permutation order(count, rank_seed_, static_cast<std::uint64_t>(slice.epoch));
  const std::int64_t first_owned = share_of(o.rows, o.rank, o.size).begin;
  for (std::int64_t i = mine.begin; i < mine.end; ++i) {
    const std::int64_t place =
        o.shuffle ? static_cast<std::int64_t>(order(static_cast<std::uint64_t>(i))) : i;
    slice.rows.push_back(o.partition == Partition::kHash ? owned_rows_[place]
                                                         : first_owned + place);
  }
}

std::uint64_t Sampler::order_hash(std::int64_t epoch) const {
  std::vector<Sampler> ranks;
  const int readers = options_.partition == Partition::kColumn ? 1 : options_.size;
  for (int r = 0; r < readers; ++r) {
    SamplerOptions of_rank = options_;
    of_rank.rank = r;
    ranks.emplace_back(of_rank);
  }
  BatchSlice part;
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a, a row number at a time
  for (std::int64_t step = 0; step < steps_; ++step)
    for (std::int64_t micro = 0; micro < options_.micro_batches; ++micro)
      for (const Sampler& rank : ranks) {
        rank.slice(epoch, step, micro, part);
        for (const std::int64_t row : part.rows) {
          hash = (hash ^ static_cast<std::uint64_t>(row)) * 0x100000001b3u;
          hash ^= hash >> 32;  // a product alone never carries high bits down
        }
      }
  return hash;
}

}  // namespace phalanx
