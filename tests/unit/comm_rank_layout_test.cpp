// SPDX-License-Identifier: Apache-2.0
#include "comm/rank_layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.hpp"

namespace phalanx {
namespace {

using testing::ElementsAre;

GpuPlace own(int index) { return {index, false}; }
GpuPlace shared(int index) { return {index, true}; }

TEST(ShareOf, CoversEverythingOnceInPartsThatDifferByAtMostOne) {
  for (const std::int64_t total : {0, 1, 3, 7, 64, 1000, 1001}) {
    for (const int parts : {1, 2, 3, 4, 7, 13}) {
      std::int64_t end = 0;
      for (int p = 0; p < parts; ++p) {
        const Range range = share_of(total, p, parts);
        EXPECT_EQ(range.begin, end) << total << " in " << parts;
        EXPECT_GE(range.size(), total / parts);
        EXPECT_LE(range.size(), total / parts + 1);
        EXPECT_LE(range.size(), share_of(total, std::max(p - 1, 0), parts).size());
        end = range.end;
      }
      EXPECT_EQ(end, total) << total << " in " << parts;
    }
  }
}

TEST(ShareOf, GivesEmptyPartsWhenThereAreMorePartsThanItems) {
  EXPECT_EQ(share_of(2, 0, 5), (Range{0, 1}));
  EXPECT_EQ(share_of(2, 1, 5), (Range{1, 2}));
  EXPECT_EQ(share_of(2, 2, 5), (Range{2, 2}));
  EXPECT_EQ(share_of(2, 4, 5), (Range{2, 2}));
}

TEST(ShareOf, IsExactBeyondTheRangeOfInt32) {
  const std::int64_t total = (std::int64_t{1} << 40) + 1;
  EXPECT_EQ(share_of(total, 0, 2).size(), (std::int64_t{1} << 39) + 1);
  EXPECT_EQ(share_of(total, 1, 2).end, total);
}

TEST(RankLayout, OfOneRankHoldsEverything) {
  const RankLayout layout = single_rank_layout();
  EXPECT_EQ(layout.share(17), (Range{0, 17}));
  ASSERT_EQ(layout.hosts.size(), 1u);
  EXPECT_FALSE(layout.host.empty());
  EXPECT_EQ(layout.describe(), "1 rank on 1 node (" + layout.host + ": 0)");
}

// The GPU of every rank of a node, as (index, is shared).
std::vector<GpuPlace> gpus_of_node(int ranks, int visible, int on_node) {
  std::vector<GpuPlace> places;
  for (int r = 0; r < ranks; ++r) {
    RankLayout layout;
    layout.rank = 10 + r;
    layout.local_rank = r;
    layout.local_size = ranks;
    places.push_back(layout.gpu(visible, on_node));
  }
  return places;
}

TEST(RankLayout, TakesTheOnlyGpuThatTheSchedulerShowsToARank) {
  EXPECT_THAT(gpus_of_node(3, 1, 3), ElementsAre(own(0), own(0), own(0)));
}

TEST(RankLayout, TakesTheGpuOfItsLocalRankWhereAllAreVisible) {
  EXPECT_THAT(gpus_of_node(4, 4, 4), ElementsAre(own(0), own(1), own(2), own(3)));
  EXPECT_THAT(gpus_of_node(2, 8, 8), ElementsAre(own(0), own(1)));
}

TEST(RankLayout, TakesOneOfItsOwnWhereTheSchedulerShowsSeveralToEachRank) {
  EXPECT_THAT(gpus_of_node(2, 4, 8), ElementsAre(own(0), own(1)));
}

TEST(RankLayout, SharesGpusInTurnWhereThereAreFewerThanRanks) {
  EXPECT_THAT(gpus_of_node(4, 2, 2), ElementsAre(shared(0), shared(1), shared(0), shared(1)));
  EXPECT_THAT(gpus_of_node(2, 1, 1), ElementsAre(shared(0), shared(0)));
}

TEST(RankLayout, RefusesToChooseAmongNoGpus) {
  EXPECT_THROW(gpus_of_node(1, 0, 0), InvalidArgument);
  EXPECT_THROW(gpus_of_node(1, 2, 1), InvalidArgument);
}

TEST(RankLayout, DescribesWhichNodeHoldsWhichRanks) {
  RankLayout layout;
  layout.size = 6;
  layout.nodes = 2;
  layout.hosts = {"a", "b", "a", "a", "a", "b"};
  layout.node_of = {0, 1, 0, 0, 0, 1};
  EXPECT_EQ(layout.describe(), "6 ranks on 2 nodes (a: 0, 2-4; b: 1, 5)");
}

}  // namespace
}  // namespace phalanx
