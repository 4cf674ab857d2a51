// SPDX-License-Identifier: Apache-2.0
#include "comm/rank_layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/start_watch.hpp"

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

TEST(PartOf, CoversEverythingOnceAndCutsAtBlocks) {
  for (const std::int64_t count : {0, 1, 1023, 1024, 1025, 7919, 1'000'003}) {
    for (const int parts : {1, 2, 3, 4, 7, 13}) {
      std::int64_t end = 0;
      for (int i = 0; i < parts; ++i) {
        const Range part = part_of(count, i, parts);
        EXPECT_EQ(part.begin, end);
        EXPECT_TRUE(part.begin % kPartBlock == 0 || part.begin == count);
        EXPECT_LE(part.size(), part_of(count, 0, parts).size());
        end = part.end;
      }
      EXPECT_EQ(end, count);
    }
  }
}

/// Sets variables of the environment, and takes them away again.
class Variables {
 public:
  explicit Variables(std::vector<std::pair<const char*, const char*>> values)
      : values_(std::move(values)) {
    for (const auto& [name, value] : values_) setenv(name, value, 1);
  }
  ~Variables() {
    for (const auto& [name, value] : values_) unsetenv(name);
  }

 private:
  std::vector<std::pair<const char*, const char*>> values_;
};

TEST(LaunchPlace, IsUnknownWithoutALauncher) { EXPECT_FALSE(launch_place().has_value()); }

TEST(LaunchPlace, IsReadFromOpenMpi) {
  const Variables variables({{"PMIX_NAMESPACE", "17"},
                             {"OMPI_COMM_WORLD_RANK", "3"},
                             {"OMPI_COMM_WORLD_SIZE", "5"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  const auto place = launch_place();
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->job, "17");
  EXPECT_EQ((std::array{place->rank, place->size, place->local_rank, place->local_size}),
            (std::array{3, 5, 1, 2}));
}

TEST(LaunchPlace, IsReadFromSlurm) {
  for (const auto& [tasks, node, expected] :
       {std::tuple{"2(x2),3", "2", 3}, {"2(x2),3", "1", 2}, {"4", "0", 4}, {"1,7(x10)", "10", 7}}) {
    const Variables variables({{"PMIX_NAMESPACE", "slurm.pmix.4.0"},
                               {"SLURM_PROCID", "5"},
                               {"SLURM_STEP_NUM_TASKS", "71"},
                               {"SLURM_LOCALID", "0"},
                               {"SLURM_NODEID", node},
                               {"SLURM_STEP_TASKS_PER_NODE", tasks}});
    const auto place = launch_place();
    ASSERT_TRUE(place.has_value()) << tasks;
    EXPECT_EQ(place->local_size, expected) << tasks;
    EXPECT_EQ(place->rank, 5);
  }
  const Variables variables({{"PMIX_NAMESPACE", "slurm.pmix.4.0"},
                             {"SLURM_PROCID", "5"},
                             {"SLURM_STEP_NUM_TASKS", "71"},
                             {"SLURM_LOCALID", "0"},
                             {"SLURM_NODEID", "4"},
                             {"SLURM_STEP_TASKS_PER_NODE", "2(x"}});
  EXPECT_FALSE(launch_place().has_value());
}

}  // namespace
}  // namespace phalanx
