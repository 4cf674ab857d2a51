// SPDX-License-Identifier: Apache-2.0
#include "cli/session.hpp"

#include <fmt/core.h>
#include <omp.h>

#include <thread>

#include "cli/options.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

Device device_for(const std::string& wanted) {
  if (wanted == "cuda") throw Unsupported("device = cuda: this build has no CUDA backend");
  return {};
}

/// auto: a thread that drives MPI pays where it has a core of its own. Where ranks fill the cores it would only take turns
/// with the backward pass.
Progress progress_for(const std::string& wanted, const RankLayout& layout) {
  if (wanted == "thread") return Progress::kThread;
  if (wanted == "inline") return Progress::kInline;
  const bool has_cores_to_spare =
      std::thread::hardware_concurrency() >= 2 * static_cast<unsigned>(layout.local_size);
  return has_cores_to_spare ? Progress::kThread : Progress::kInline;
}

}  // namespace

Session::Session(MpiRuntime& runtime, const std::string& device, const std::string& wanted_progress,
                 double deadline, std::int64_t threads, bool tree_over_ranks)
    : mpi(runtime),
      deadline_seconds(deadline),
      layout(make_rank_layout(mpi)),
      progress(progress_for(wanted_progress, layout)),
      comm(mpi.size() > 1
               ? make_mpi_communicator(mpi, progress, deadline_seconds, 0, tree_over_ranks)
               : make_single_communicator()),
      stream(device_for(device)) {
  omp_set_num_threads(static_cast<int>(threads));
}

Session::~Session() { mpi.end_within(deadline_seconds); }

bool parse_or_print(OptionTable& table, const MpiRuntime& mpi, Arguments arguments) {
  const CliAction action = table.parse(arguments);
  if (action == CliAction::kRun) return true;
  if (mpi.rank() == 0) fmt::print("{}", action == CliAction::kHelp ? table.help() : table.dump());
  return false;
}

void print_line(std::string_view name, std::string_view value) {
  fmt::print("  {:<16} {}\n", name, value);
}

}  // namespace phalanx
