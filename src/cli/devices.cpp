// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <thread>

#include "cli/gpus.hpp"
#include "cli/options.hpp"
#include "cli/session.hpp"
#include "comm/gather_texts.hpp"
#include "core/text.hpp"
#include "device/backend.hpp"

namespace phalanx {
namespace {

std::string description(const Session& session, const RankGpus& found) {
  const std::vector<GpuInfo>& gpus = found.visible;
  std::string text = fmt::format("rank {} on {}: {} cores", session.layout.rank,
                                 session.layout.host, std::thread::hardware_concurrency());
  if (gpus.empty()) return text + fmt::format("; no GPU: {}\n", found.cuda.why_none);
  text +=
      fmt::format("; takes GPU {}{}\n", found.place.index, found.place.is_shared ? ", shared" : "");
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
  Session session(mpi,
                  {.device = "cpu", .progress = "inline", .deadline_seconds = kDeadlineSeconds});
  const std::string mine = description(session, find_gpus(session.layout, *session.comm));
  const std::vector<std::string> all = gather_texts(mine, *session.comm, session.stream);
  if (session.is_first())
    for (const std::string& text : all) fmt::print("{}", text);
  return ExitCode::kDone;
}

}  // namespace phalanx
