// SPDX-License-Identifier: Apache-2.0
#include "comm/rank_layout.hpp"

#include <gtest/gtest.h>

#include "comm/communicator.hpp"
#include "mpi_main.hpp"

namespace phalanx {
namespace {

TEST(MpiRankLayout, PutsTheRanksOfOneMachineOnOneNode) {
  const RankLayout layout = make_rank_layout(test_mpi());
  EXPECT_EQ(layout.rank, test_mpi().rank());
  EXPECT_EQ(layout.size, test_mpi().size());
  EXPECT_EQ(layout.nodes, 1);
  EXPECT_EQ(layout.node, 0);
  EXPECT_EQ(layout.local_rank, layout.rank);
  EXPECT_EQ(layout.local_size, layout.size);
  EXPECT_EQ(layout.hosts,
            std::vector<std::string>(static_cast<std::size_t>(layout.size), layout.host));
}

TEST(MpiRankLayout, GivesEveryRowToExactlyOneRank) {
  const RankLayout layout = make_rank_layout(test_mpi());
  const auto comm = make_mpi_communicator(test_mpi(), Progress::kInline, 60);
  Stream stream{Device{}};
  for (const std::int64_t total : {0, 1, 3, 1001}) {
    std::vector<std::int64_t> owners(static_cast<std::size_t>(total), 0);
    const Range mine = layout.share(total);
    for (std::int64_t i = mine.begin; i < mine.end; ++i) ++owners[static_cast<std::size_t>(i)];
    comm->all_reduce({owners.data(), {DType::kI64, {total}}}, ReduceOp::kSum, stream);
    EXPECT_EQ(owners, std::vector<std::int64_t>(static_cast<std::size_t>(total), 1));
  }
}

}  // namespace
}  // namespace phalanx
