// SPDX-License-Identifier: Apache-2.0
#include "cli/session.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <thread>
#include <utility>

#include "cli/gpus.hpp"
#include "cli/options.hpp"
#include "comm/collectives_plan.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

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

namespace {

BackendOptions backend_options(const SessionOptions& options) {
  const auto choice = [&](const std::string& wanted) {
    if (wanted == "own") return KernelChoice::kOwn;
    if (wanted != "auto") return KernelChoice::kVendor;
    // What a measurement chooses may differ from run to run, and from rank to rank.
    const bool measures = !options.reproducible && !options.same_kernels;
    return measures ? KernelChoice::kAuto : KernelChoice::kOwn;
  };
  return {.gemm = choice(options.gemm), .conv = choice(options.conv)};
}

/// The device of this rank; the same kind on all ranks.
Device take_device(const SessionOptions& options, const RankLayout& layout, Communicator& host,
                   std::unique_ptr<LoadedBackend>& backend, std::string& computes_on) {
  if (options.device == "cpu") return {};
  RankGpus gpus = find_gpus(layout, host);
  std::int64_t with_gpu = gpus.visible.empty() ? 0 : 1;
  Stream stream{Device{}};
  host.all_reduce({&with_gpu, {DType::kI64, Shape{1}}}, ReduceOp::kMin, stream);
  const std::string why = gpus.visible.empty() ? gpus.cuda.why_none : "another rank has no GPU";
  if (with_gpu == 0) {
    require<Unsupported>(options.device == "auto", "device = cuda: " + why);
    computes_on = "on the CPU: " + why;
    return {};
  }
  const Device device = gpus.device();
  computes_on = fmt::format("on GPU {}: {}", device.index,
                            gpus.visible[static_cast<std::size_t>(device.index)].name);
  backend = std::move(gpus.cuda.backend);
  backend->get().options = backend_options(options);
  return device;
}

std::unique_ptr<Communicator> make_host_comm(MpiRuntime& mpi, Progress progress,
                                             const SessionOptions& options) {
  if (mpi.size() == 1) return make_single_communicator();
  return make_mpi_communicator(mpi, progress, options.deadline_seconds, 0, options.reproducible);
}

}  // namespace

Session::Session(MpiRuntime& runtime, const SessionOptions& options)
    : mpi(runtime),
      deadline_seconds(options.deadline_seconds),
      layout(make_rank_layout(mpi)),
      progress(progress_for(options.progress, layout)),
      comm(make_host_comm(mpi, progress, options)),
      stream(layout.device = take_device(options, layout, *comm, backend, computes_on)) {
  omp_set_num_threads(static_cast<int>(options.threads));
  if (layout.device.kind == DeviceKind::kCpu || mpi.size() == 1) return;
  PlannedCommunicator planned =
      make_device_communicator(std::move(comm), layout,
                               {.device = layout.device,
                                .deadline_seconds = options.deadline_seconds,
                                .tree_over_ranks = options.reproducible});
  comm = std::move(planned.comm);
  computes_on += "; " + planned.plan.reason;
}

Session::~Session() {
  mpi.end_within(deadline_seconds);
  comm.reset();  // its memory may be of the stream
}

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
