// SPDX-License-Identifier: Apache-2.0
#include "comm/rank_layout.hpp"

#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "comm/mpi_runtime.hpp"
#include "core/error.hpp"

namespace phalanx {
namespace {

// "0-1", or "0, 2, 5-7"
std::string ranges(const std::vector<int>& ranks) {
  std::string text;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t j = i;
    while (j + 1 < ranks.size() && ranks[j + 1] == ranks[j] + 1) ++j;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", ranks[i]);
    if (j > i) text += fmt::format("-{}", ranks[j]);
    i = j + 1;
  }
  return text;
}

// Ranks that share memory stand on one node; it is known by its lowest rank.
int lowest_rank_of_node(RankLayout& layout) {
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, layout.rank, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &layout.local_rank);
  MPI_Comm_size(node, &layout.local_size);
  int lowest = layout.rank;
  MPI_Bcast(&lowest, 1, MPI_INT, 0, node);
  MPI_Comm_free(&node);
  return lowest;
}

}  // namespace

Range share_of(std::int64_t total, int index, int parts) noexcept {
  const std::int64_t size = total / parts;
  const std::int64_t larger = total % parts;
  const std::int64_t begin = index * size + std::min<std::int64_t>(index, larger);
  return {begin, begin + size + (index < larger ? 1 : 0)};
}

Range part_of(std::int64_t count, int index, int parts) noexcept {
  const Range blocks = share_of((count + kPartBlock - 1) / kPartBlock, index, parts);
  return {std::min(blocks.begin * kPartBlock, count), std::min(blocks.end * kPartBlock, count)};
}

GpuPlace RankLayout::gpu(int visible, int on_node) const {
  require(visible >= 1 && visible <= on_node,
          fmt::format("rank {} on {} sees {} GPUs of {} on the node: expected at least one", rank,
                      host, visible, on_node));
  return {local_rank % visible, on_node < local_size};
}

std::string RankLayout::describe() const {
  std::vector<std::vector<int>> members(static_cast<std::size_t>(nodes));
  for (std::size_t r = 0; r < node_of.size(); ++r)
    members[node_of[r]].push_back(static_cast<int>(r));
  std::string text = fmt::format("{} rank{} on {} node{} (", size, size == 1 ? "" : "s", nodes,
                                 nodes == 1 ? "" : "s");
  for (std::size_t n = 0; n < members.size(); ++n) {
    text +=
        fmt::format("{}{}: {}", n > 0 ? "; " : "", hosts[members[n].front()], ranges(members[n]));
  }
  return text + ")";
}

RankLayout single_rank_layout() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  RankLayout layout;
  layout.host = host.data();
  layout.hosts = {layout.host};
  layout.node_of = {0};
  return layout;
}

RankLayout make_rank_layout(const MpiRuntime& mpi) {
  const StartWatch::Stage stage(mpi.start_watch(), "the rank layout");
  RankLayout layout;
  layout.rank = mpi.rank();
  layout.size = mpi.size();
  const std::size_t size = static_cast<std::size_t>(layout.size);

  std::array<char, MPI_MAX_PROCESSOR_NAME> host{};
  int length = 0;
  MPI_Get_processor_name(host.data(), &length);
  layout.host = host.data();
  std::vector<char> all(size * host.size());
  MPI_Allgather(host.data(), MPI_MAX_PROCESSOR_NAME, MPI_CHAR, all.data(), MPI_MAX_PROCESSOR_NAME,
                MPI_CHAR, MPI_COMM_WORLD);
  for (std::size_t r = 0; r < size; ++r) layout.hosts.emplace_back(all.data() + r * host.size());

  const int lowest = lowest_rank_of_node(layout);
  std::vector<int> lowest_of(size);
  MPI_Allgather(&lowest, 1, MPI_INT, lowest_of.data(), 1, MPI_INT, MPI_COMM_WORLD);
  std::vector<int> heads = lowest_of;
  std::ranges::sort(heads);
  heads.erase(std::unique(heads.begin(), heads.end()), heads.end());
  layout.nodes = static_cast<int>(heads.size());
  for (const int head : lowest_of) {
    layout.node_of.push_back(
        static_cast<int>(std::ranges::lower_bound(heads, head) - heads.begin()));
  }
  layout.node = layout.node_of[static_cast<std::size_t>(layout.rank)];
  return layout;
}

}  // namespace phalanx
