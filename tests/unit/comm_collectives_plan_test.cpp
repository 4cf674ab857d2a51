// SPDX-License-Identifier: Apache-2.0
#include "comm/collectives_plan.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "core/error.hpp"

namespace phalanx {
namespace {

CollectivesPlan plan(const std::vector<RankGpu>& ranks, bool tree_over_ranks = false) {
  return choose_collectives(ranks, tree_over_ranks);
}

TEST(CollectivesPlan, IsNcclWhereEveryRankHasAGpuOfItsOwn) {
  const CollectivesPlan found =
      plan({{0, "0000:65:00.0"}, {0, "0000:66:00.0"}, {1, "0000:65:00.0"}, {1, "0000:66:00.0"}});
  EXPECT_TRUE(found.uses_nccl);
  EXPECT_EQ(found.reason, "every rank has a GPU of its own: NCCL sums on the GPUs");
}

TEST(CollectivesPlan, NamesRanksThatShareAGpu) {
  const CollectivesPlan two = plan({{0, "0000:65:00.0"}, {0, "0000:65:00.0"}});
  EXPECT_FALSE(two.uses_nccl);
  EXPECT_EQ(two.reason,
            "ranks 0 and 1 share GPU 0000:65:00.0: sums go through pinned host memory, since NCCL "
            "refuses two ranks on one GPU");
  const std::string shared =
      " share GPU b: sums go through pinned host memory, since NCCL refuses "
      "two ranks on one GPU";
  EXPECT_EQ(plan({{0, "a"}, {0, "b"}, {0, "b"}, {1, "c"}, {1, "c"}, {0, "b"}}).reason,
            "ranks 1, 2 and 5" + shared);
  EXPECT_EQ(plan(std::vector<RankGpu>(5, {0, "b"})).reason, "ranks 0, 1, 2, 3 and 4" + shared);
  EXPECT_EQ(plan(std::vector<RankGpu>(8, {0, "b"})).reason, "ranks 0, 1, 2, 3 and 4 more" + shared);
}

TEST(CollectivesPlan, NamesTheRankWithoutNccl) {
  const CollectivesPlan found =
      plan({{0, "a"}, {0, "b", "NCCL cannot be opened: libnccl.so.2: no such file"}});
  EXPECT_FALSE(found.uses_nccl);
  EXPECT_EQ(found.reason,
            "rank 1 has no NCCL: sums go through pinned host memory (NCCL cannot be opened: "
            "libnccl.so.2: no such file)");
}

TEST(CollectivesPlan, IsNotNcclForATreeOverRanks) {
  const CollectivesPlan found = plan({{0, "a"}, {0, "b"}}, true);
  EXPECT_FALSE(found.uses_nccl);
  EXPECT_EQ(found.reason,
            "sums are to be the same for any number of ranks: sums go through pinned host memory, "
            "since NCCL adds in an order of its own");
}

TEST(CollectivesPlan, HasNothingToSumForOneRank) {
  EXPECT_FALSE(plan({{0, "a"}}).uses_nccl);
  EXPECT_EQ(plan({{0, "a"}}).reason, "one rank: there is nothing to sum");
}

TEST(CollectivesPlan, RefusesARankWithoutAGpu) {
  EXPECT_THROW(plan({{0, "a"}, {0, ""}}), InvalidArgument);
}

}  // namespace
}  // namespace phalanx
