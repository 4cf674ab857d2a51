// SPDX-License-Identifier: Apache-2.0
#include "comm/collectives_plan.hpp"

#include <fmt/format.h>

#include <map>
#include <utility>
#include <vector>

#include "comm/gather_texts.hpp"
#include "comm/nccl.hpp"
#include "core/error.hpp"
#include "device/backend.hpp"

namespace phalanx {
namespace {

constexpr const char* kStaged = "sums go through pinned host memory";

// "0 and 1", "0, 1 and 2", "0, 1, 2, 3 and 60 more"
std::string listed(const std::vector<std::size_t>& ranks) {
  constexpr std::size_t kMost = 4;
  const std::size_t shown = ranks.size() <= kMost + 1 ? ranks.size() - 1 : kMost;
  std::string text;
  for (std::size_t i = 0; i < shown; ++i)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", ranks[i]);
  return shown + 1 == ranks.size() ? fmt::format("{} and {}", text, ranks.back())
                                   : fmt::format("{} and {} more", text, ranks.size() - shown);
}

// Of the GPU with the lowest rank that shares it; none: empty.
std::vector<std::size_t> sharing(std::span<const RankGpu> ranks) {
  std::map<std::pair<int, std::string>, std::vector<std::size_t>> of_gpu;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    of_gpu[{ranks[r].node, ranks[r].bus_id}].push_back(r);
  std::vector<std::size_t> found;
  for (const auto& [gpu, members] : of_gpu)
    if (members.size() > 1 && (found.empty() || members.front() < found.front())) found = members;
  return found;
}

}  // namespace

CollectivesPlan choose_collectives(std::span<const RankGpu> ranks, bool tree_over_ranks) {
  for (std::size_t r = 0; r < ranks.size(); ++r)
    require(!ranks[r].bus_id.empty(), fmt::format("rank {} has no GPU", r));
  if (ranks.size() <= 1) return {false, "one rank: there is nothing to sum"};
  if (const auto members = sharing(ranks); !members.empty())
    return {false, fmt::format("ranks {} share GPU {}: {}, since NCCL refuses two ranks on one GPU",
                               listed(members), ranks[members.front()].bus_id, kStaged)};
  if (tree_over_ranks)
    return {false,
            fmt::format("sums are to be the same for any number of ranks: {}, since NCCL adds in "
                        "an order of its own",
                        kStaged)};
  for (std::size_t r = 0; r < ranks.size(); ++r)
    if (!ranks[r].no_nccl.empty())
      return {false, fmt::format("rank {} has no NCCL: {} ({})", r, kStaged, ranks[r].no_nccl)};
  return {true, "every rank has a GPU of its own: NCCL sums on the GPUs"};
}

PlannedCommunicator make_device_communicator(std::unique_ptr<Communicator> host,
                                             const RankLayout& layout,
                                             const DeviceCommunicatorOptions& options) {
  require(options.device.backend != nullptr, "this communicator is for a GPU, found the CPU");
  Stream cpu{Device{}};
  std::vector<RankGpu> ranks(static_cast<std::size_t>(host->size()));
  const auto gather = [&](const std::string& mine, std::string RankGpu::*field) {
    const std::vector<std::string> all = gather_texts(mine, *host, cpu);
    for (std::size_t r = 0; r < ranks.size(); ++r) ranks[r].*field = all[r];
  };
  for (std::size_t r = 0; r < ranks.size(); ++r) ranks[r].node = layout.node_of[r];
  gather(options.device.backend->info(options.device.index).bus_id, &RankGpu::bus_id);
  CollectivesPlan plan = choose_collectives(ranks, options.tree_over_ranks);
  std::shared_ptr<const NcclLibrary> library;
  if (plan.uses_nccl) {
    std::string why_none;
    try {
      library = std::make_shared<NcclLibrary>(options.nccl);
    } catch (const Unsupported& e) {
      why_none = e.what();
    }
    gather(why_none, &RankGpu::no_nccl);
    plan = choose_collectives(ranks, options.tree_over_ranks);
  }
  auto comm = plan.uses_nccl
                  ? make_nccl_communicator(std::move(host), std::move(library),
                                           {.device = options.device,
                                            .host = layout.host,
                                            .deadline_seconds = options.deadline_seconds})
                  : make_staged_communicator(std::move(host), options.device);
  return {std::move(comm), std::move(plan)};
}

}  // namespace phalanx
