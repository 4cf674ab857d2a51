// SPDX-License-Identifier: Apache-2.0
#include "cli/gpus.hpp"

#include <set>

#include "comm/gather_texts.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

/// Different GPUs that the ranks of this node see together.
int gpus_on_node(const std::vector<GpuInfo>& mine, const RankLayout& layout, Communicator& host) {
  std::string ids;
  for (const GpuInfo& gpu : mine) ids += gpu.bus_id + " ";
  std::set<std::string> different;
  Stream stream{Device{}};
  const std::vector<std::string> all = gather_texts(ids, host, stream);
  for (std::size_t r = 0; r < all.size(); ++r)
    if (layout.node_of[r] == layout.node)
      for (const std::string_view id : split_words(all[r])) different.emplace(id);
  return static_cast<int>(different.size());
}

}  // namespace

RankGpus find_gpus(const RankLayout& layout, Communicator& host) {
  RankGpus gpus{.cuda = open_cuda_backend()};
  for (int i = 0; gpus.cuda.backend && i < gpus.cuda.backend->get().count(); ++i)
    gpus.visible.push_back(gpus.cuda.backend->get().info(i));
  const int on_node = gpus_on_node(gpus.visible, layout, host);
  if (!gpus.visible.empty())
    gpus.place = layout.gpu(static_cast<int>(gpus.visible.size()), on_node);
  return gpus;
}

}  // namespace phalanx
