// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <set>
#include <thread>

#include "cli/options.hpp"
#include "cli/session.hpp"
#include "comm/gather_texts.hpp"
#include "core/text.hpp"
#include "device/backend.hpp"

namespace phalanx {
namespace {

std::vector<GpuInfo> gpus_of(const CudaBackendResult& cuda) {
  std::vector<GpuInfo> found;
  for (int i = 0; cuda.backend && i < cuda.backend->get().count(); ++i)
    found.push_back(cuda.backend->get().info(i));
  return found;
}

/// Different GPUs that the ranks of this node see together.
int gpus_on_node(const std::vector<GpuInfo>& mine, Session& session) {
  std::string ids;
  for (const GpuInfo& gpu : mine) ids += gpu.bus_id + " ";
  std::set<std::string> different;
  const std::vector<std::string> all = gather_texts(ids, *session.comm, session.stream);
  for (std::size_t r = 0; r < all.size(); ++r)
    if (session.layout.node_of[r] == session.layout.node)
      for (const std::string_view id : split_words(all[r])) different.emplace(id);
  return static_cast<int>(different.size());
}

std::string description(const Session& session, const CudaBackendResult& cuda,
                        const std::vector<GpuInfo>& gpus, int on_node) {
  std::string text = fmt::format("rank {} on {}: {} cores", session.layout.rank,
                                 session.layout.host, std::thread::hardware_concurrency());
  if (gpus.empty()) return text + fmt::format("; no GPU: {}\n", cuda.why_none);
  const GpuPlace taken = session.layout.gpu(static_cast<int>(gpus.size()), on_node);
  text += fmt::format("; takes GPU {}{}\n", taken.index, taken.is_shared ? ", shared" : "");
  for (std::size_t i = 0; i < gpus.size(); ++i)
    text +=
        fmt::format("  GPU {}: {}, {} of {} free, compute capability {}.{}, {}\n", i, gpus[i].name,
                    human_bytes(gpus[i].free_bytes), human_bytes(gpus[i].memory_bytes),
                    gpus[i].major, gpus[i].minor, gpus[i].bus_id);
  return text;
}

}  // namespace

ExitCode devices_command(MpiRuntime& mpi, Arguments arguments) {
  OptionTable table("phalanx devices    (alone, or under mpirun)");
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  constexpr double kDeadlineSeconds = 60;
  Session session(mpi, "cpu", "inline", kDeadlineSeconds, 1);
  const CudaBackendResult cuda = open_cuda_backend();
  const std::vector<GpuInfo> gpus = gpus_of(cuda);
  const std::string mine = description(session, cuda, gpus, gpus_on_node(gpus, session));
  const std::vector<std::string> all = gather_texts(mine, *session.comm, session.stream);
  if (session.is_first())
    for (const std::string& text : all) fmt::print("{}", text);
  return ExitCode::kDone;
}

}  // namespace phalanx
