// SPDX-License-Identifier: Apache-2.0
#include "data/sampler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "core/error.hpp"
#include "core/rng.hpp"

namespace phalanx {
namespace {

SamplerOptions options(std::int64_t rows, Partition partition, std::int64_t batch_size,
                       std::int64_t micro_batches, int rank, int size) {
  SamplerOptions o;
  o.rows = rows;
  o.partition = partition;
  o.batch_size = batch_size;
  o.micro_batches = micro_batches;
  o.rank = rank;
  o.size = size;
  o.seed = 7;
  return o;
}

std::vector<Sampler> all_ranks(SamplerOptions o) {
  std::vector<Sampler> ranks;
  for (o.rank = 0; o.rank < o.size; ++o.rank) ranks.emplace_back(o);
  return ranks;
}

// The rows of a step at their places in the global batch, as told by first_row; -1 where nobody
// claims a place.
std::vector<std::int64_t> global_batch(const std::vector<Sampler>& ranks, std::int64_t epoch,
                                       std::int64_t step) {
  std::vector<std::int64_t> batch;
  BatchSlice slice;
  for (const Sampler& rank : ranks)
    for (std::int64_t micro = 0; micro < rank.options().micro_batches; ++micro) {
      rank.slice(epoch, step, micro, slice);
      if (batch.empty()) batch.assign(static_cast<std::size_t>(slice.global_rows), -1);
      EXPECT_EQ(slice.global_rows, static_cast<std::int64_t>(batch.size()));
      EXPECT_LE(static_cast<std::int64_t>(slice.rows.size()), rank.max_rows());
      for (std::size_t i = 0; i < slice.rows.size(); ++i) {
        const auto place = static_cast<std::size_t>(slice.first_row) + i;
        if (place >= batch.size()) {
          ADD_FAILURE() << "place " << place << " of " << batch.size();
          continue;
        }
        EXPECT_EQ(batch[place], -1) << "place " << place << " is given twice";
        batch[place] = slice.rows[i];
      }
    }
  return batch;
}

std::vector<std::int64_t> epoch_order(const std::vector<Sampler>& ranks, std::int64_t epoch) {
  std::vector<std::int64_t> order;
  for (std::int64_t step = 0; step < ranks[0].steps_per_epoch(); ++step) {
    const auto batch = global_batch(ranks, epoch, step);
    order.insert(order.end(), batch.begin(), batch.end());
  }
  return order;
}

std::vector<std::int64_t> iota(std::int64_t n) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

std::vector<std::int64_t> sorted(std::vector<std::int64_t> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

constexpr Partition kRowPartitions[] = {Partition::kShuffle, Partition::kRange, Partition::kHash};

TEST(Partition, ReadsItsOwnNames) {
  for (const Partition p :
       {Partition::kShuffle, Partition::kRange, Partition::kHash, Partition::kColumn})
    EXPECT_EQ(parse_partition(name(p)), p);
}

TEST(Partition, NamesTheChoicesWhenItRefusesAWord) {
  try {
    parse_partition("shufle");
    FAIL() << "accepted a word that is no partition";
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(),
                 "partition: expected shuffle, range, hash, column, found 'shufle'; did you mean "
                 "'shuffle'?");
  }
}

TEST(Partition, HashDealsRowsOutEvenly) {
  for (const int size : {2, 3, 8}) {
    std::vector<int> counts(static_cast<std::size_t>(size), 0);
    for (std::int64_t row = 0; row < 24000; ++row)
      ++counts.at(static_cast<std::size_t>(hash_owner(row, size)));
    for (const int count : counts) EXPECT_NEAR(count, 24000 / size, 500);
  }
}

TEST(Partition, ColumnsOfAllRanksJoinWithoutGaps) {
  for (const int size : {1, 3, 8}) {
    std::int64_t end = 0;
    for (int rank = 0; rank < size; ++rank) {
      const Range range = columns(5, rank, size);
      EXPECT_EQ(range.begin, end);
      end = range.end;
    }
    EXPECT_EQ(end, 5);
  }
}

TEST(Permutation, GivesEveryPlaceOnceForEverySizeUpTo100) {
  for (std::int64_t n = 1; n <= 100; ++n) {
    const Permutation order(static_cast<std::uint64_t>(n), 3, 5);
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < n; ++i)
      rows.push_back(static_cast<std::int64_t>(order(static_cast<std::uint64_t>(i))));
    EXPECT_EQ(sorted(rows), iota(n)) << "n = " << n;
  }
}

TEST(Permutation, GivesEveryPlaceOnceForAMillionRows) {
  constexpr std::uint64_t kRows = 1000003;
  const Permutation order(kRows, 3, 5);
  std::vector<bool> seen(kRows, false);
  std::uint64_t in_place = 0;
  for (std::uint64_t i = 0; i < kRows; ++i) {
    const std::uint64_t row = order(i);
    ASSERT_LT(row, kRows);
    ASSERT_FALSE(seen[row]) << "row " << row << " comes twice";
    seen[row] = true;
    in_place += row == i ? 1 : 0;
  }
  EXPECT_LT(in_place, 20u);  // a random order leaves about one row in its place
}

TEST(Sampler, GivesEveryRowOncePerEpochForEverySizeAndPartition) {
  for (const Partition partition : kRowPartitions)
    for (std::int64_t n = 1; n <= 100; ++n)
      for (const int size : {1, 3, 8})
        EXPECT_EQ(sorted(epoch_order(all_ranks(options(n, partition, 16, 2, 0, size)), 1)), iota(n))
            << name(partition) << ", " << n << " rows, " << size << " ranks";
}

TEST(Sampler, OrderDoesNotDependOnTheRankCount) {
  for (const std::int64_t rows : {1, 5, 64, 1000}) {
    const std::uint64_t expected =
        Sampler(options(rows, Partition::kShuffle, 24, 1, 0, 1)).order_hash(2);
    for (const int size : {1, 2, 3, 4, 8})
      for (const std::int64_t micros : {1, 2, 5})
        EXPECT_EQ(
            Sampler(options(rows, Partition::kShuffle, 24, micros, size - 1, size)).order_hash(2),
            expected)
            << rows << " rows, " << size << " ranks, " << micros << " micro-batches";
  }
}

TEST(Sampler, OrderHashTellsEpochsAndSeedsApart) {
  SamplerOptions o = options(1000, Partition::kShuffle, 24, 1, 0, 1);
  std::set<std::uint64_t> hashes{Sampler(o).order_hash(0), Sampler(o).order_hash(1)};
  o.seed = 8;
  hashes.insert(Sampler(o).order_hash(0));
  o.shuffle = false;
  hashes.insert(Sampler(o).order_hash(0));
  EXPECT_EQ(hashes.size(), 4u);
}

TEST(Sampler, FollowsThePermutationOfSeedAndEpoch) {
  const auto order = epoch_order(all_ranks(options(50, Partition::kShuffle, 8, 3, 0, 3)), 4);
  const Permutation expected(50, 7, 4);
  ASSERT_EQ(order.size(), 50u);
  for (std::size_t i = 0; i < order.size(); ++i)
    EXPECT_EQ(order[i], static_cast<std::int64_t>(expected(i)));
}

TEST(Sampler, KeepsTheRaggedLastBatch) {
  const auto ranks = all_ranks(options(10, Partition::kShuffle, 4, 1, 0, 2));
  EXPECT_EQ(ranks[0].steps_per_epoch(), 3);
  EXPECT_EQ(global_batch(ranks, 0, 1).size(), 4u);
  EXPECT_EQ(global_batch(ranks, 0, 2).size(), 2u);
}

TEST(Sampler, GivesEmptySlicesToRanksWithoutSamples) {
  const auto ranks = all_ranks(options(3, Partition::kShuffle, 8, 1, 0, 5));
  BatchSlice slice;
  for (int r = 0; r < 5; ++r) {
    ranks[r].slice(0, 0, 0, slice);
    EXPECT_EQ(slice.is_empty(), r >= 3) << "rank " << r;
    EXPECT_EQ(slice.global_rows, 3);
  }
}

TEST(Sampler, GivesEmptySlicesToOwnersWithoutSamples) {
  for (const Partition partition : {Partition::kRange, Partition::kHash}) {
    const auto ranks = all_ranks(options(3, partition, 8, 1, 0, 8));
    EXPECT_EQ(sorted(epoch_order(ranks, 0)), iota(3)) << name(partition);
    for (const Sampler& rank : ranks) EXPECT_EQ(rank.steps_per_epoch(), ranks[0].steps_per_epoch());
  }
}

TEST(Sampler, MicroBatchesTogetherAreTheBatch) {
  for (const std::int64_t micros : {2, 3, 7, 30}) {
    const auto whole = all_ranks(options(50, Partition::kShuffle, 20, 1, 0, 1));
    const auto cut = all_ranks(options(50, Partition::kShuffle, 20, micros, 0, 3));
    for (std::int64_t step = 0; step < 3; ++step)
      EXPECT_EQ(global_batch(cut, 1, step), global_batch(whole, 1, step))
          << micros << " micro-batches";
  }
}

TEST(Sampler, LongestSliceIsReached) {
  for (const Partition partition :
       {Partition::kShuffle, Partition::kRange, Partition::kHash, Partition::kColumn})
    for (const std::int64_t rows : {3, 40, 101}) {
      const auto ranks = all_ranks(options(rows, partition, 20, 3, 0, 4));
      std::int64_t longest = 0;
      BatchSlice slice;
      for (const Sampler& rank : ranks) {
        EXPECT_EQ(rank.max_rows(), ranks[0].max_rows());
        for (std::int64_t step = 0; step < rank.steps_per_epoch(); ++step)
          for (std::int64_t micro = 0; micro < 3; ++micro) {
            rank.slice(0, step, micro, slice);
            longest = std::max(longest, static_cast<std::int64_t>(slice.rows.size()));
          }
      }
      EXPECT_EQ(longest, ranks[0].max_rows()) << name(partition) << ", " << rows << " rows";
    }
}

TEST(Sampler, OwnersKeepTheirRowsInEveryEpoch) {
  for (const Partition partition : {Partition::kRange, Partition::kHash})
    for (const Sampler& rank : all_ranks(options(101, partition, 12, 2, 0, 4))) {
      const int r = rank.options().rank;
      BatchSlice slice;
      for (std::int64_t epoch = 0; epoch < 2; ++epoch)
        for (std::int64_t step = 0; step < rank.steps_per_epoch(); ++step)
          for (std::int64_t micro = 0; micro < 2; ++micro) {
            rank.slice(epoch, step, micro, slice);
            for (const std::int64_t row : slice.rows) {
              const Range range = share_of(101, r, 4);
              const bool owned = partition == Partition::kHash
                                     ? hash_owner(row, 4) == r
                                     : row >= range.begin && row < range.end;
              EXPECT_TRUE(owned) << "row " << row << " on rank " << r << ", " << name(partition);
            }
          }
    }
}

TEST(Sampler, OwnersOrderTheirRowsAnewInEveryEpoch) {
  for (const Partition partition : {Partition::kRange, Partition::kHash}) {
    const Sampler rank(options(400, partition, 400, 1, 1, 2));
    BatchSlice first;
    BatchSlice second;
    rank.slice(0, 0, 0, first);
    rank.slice(1, 0, 0, second);
    EXPECT_NE(first.rows, second.rows) << name(partition);
    EXPECT_NE(first.rows, sorted(first.rows)) << name(partition);
  }
}

TEST(Sampler, ColumnPartitionShowsEveryRowToEveryRank) {
  BatchSlice one;
  BatchSlice many;
  for (int rank = 0; rank < 3; ++rank) {
    const Sampler alone(options(10, Partition::kShuffle, 4, 2, 0, 1));
    const Sampler cut(options(10, Partition::kColumn, 4, 2, rank, 3));
    ASSERT_EQ(cut.steps_per_epoch(), alone.steps_per_epoch());
    EXPECT_EQ(cut.order_hash(0), alone.order_hash(0));
    for (std::int64_t step = 0; step < 3; ++step)
      for (std::int64_t micro = 0; micro < 2; ++micro) {
        alone.slice(0, step, micro, one);
        cut.slice(0, step, micro, many);
        EXPECT_EQ(many.rows, one.rows);
        EXPECT_EQ(many.first_row, one.first_row);
        EXPECT_EQ(many.global_rows, one.global_rows);
      }
  }
}

TEST(Sampler, WithoutShuffleCountsUpwards) {
  for (const int size : {1, 2, 5}) {
    SamplerOptions o = options(23, Partition::kShuffle, 7, 1, 0, size);
    o.shuffle = false;
    EXPECT_EQ(epoch_order(all_ranks(o), 3), iota(23));
  }
}

TEST(Sampler, ReusesTheMemoryOfASlice) {
  const Sampler sampler(options(100, Partition::kShuffle, 32, 1, 0, 1));
  BatchSlice slice;
  slice.rows.reserve(static_cast<std::size_t>(sampler.max_rows()));
  const std::int64_t* memory = slice.rows.data();
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    sampler.slice(0, step, 0, slice);
    EXPECT_EQ(slice.rows.data(), memory);
  }
}

TEST(Sampler, RefusesNumbersOutOfRange) {
  EXPECT_THROW(Sampler(options(0, Partition::kShuffle, 4, 1, 0, 1)), InvalidArgument);
  EXPECT_THROW(Sampler(options(9, Partition::kShuffle, 0, 1, 0, 1)), InvalidArgument);
  EXPECT_THROW(Sampler(options(9, Partition::kShuffle, 4, 0, 0, 1)), InvalidArgument);
  EXPECT_THROW(Sampler(options(9, Partition::kShuffle, 4, 1, 2, 2)), InvalidArgument);
  EXPECT_THROW(Sampler(options(9, Partition::kRange, 3, 1, 0, 4)), ConfigError);
  EXPECT_THROW(Sampler(options(9, Partition::kHash, 3, 1, 0, 4)), ConfigError);
  const Sampler sampler(options(9, Partition::kShuffle, 4, 2, 0, 1));
  BatchSlice slice;
  EXPECT_THROW(sampler.slice(-1, 0, 0, slice), InvalidArgument);
  EXPECT_THROW(sampler.slice(0, 3, 0, slice), InvalidArgument);
  EXPECT_THROW(sampler.slice(0, 0, 2, slice), InvalidArgument);
}

}  // namespace
}  // namespace phalanx
