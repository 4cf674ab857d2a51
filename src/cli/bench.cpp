// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "cli/options.hpp"
#include "cli/session.hpp"
#include "comm/all_reduce_benchmark.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

void print_times(const std::vector<AllReduceTime>& times, int ranks) {
  const auto seconds_of = [&](std::string_view method) {
    return std::ranges::find(times, method, &AllReduceTime::method)->median_seconds;
  };
  const double library = seconds_of(kLibraryMethod), copy = seconds_of(kCopyMethod);
  std::string size = human_bytes(static_cast<std::uint64_t>(times.front().bytes));
  for (const AllReduceTime& t : times) {
    fmt::print("{:>10}  {:<22} {:>11.1f} {:>11.1f} {:>9.2f} {:>9.2f} {:>8.2f}x {:>7.0f} %{}\n",
               size, t.method, t.best_seconds * 1e6, t.median_seconds * 1e6,
               t.algorithm_bandwidth() * 1e-9, t.bus_bandwidth(ranks) * 1e-9,
               library / t.median_seconds, 100 * copy / t.median_seconds,
               t.is_right ? "" : "  WRONG SUMS");
    size.clear();
  }
}

}  // namespace

ExitCode bench_all_reduce_command(MpiRuntime& mpi, Arguments arguments) {
  AllReduceBenchmarkOptions options;
  OptionTable table("phalanx bench allreduce [options]    (under mpirun)");
  table.group("Sizes");
  table
      .add("min-bytes", &options.least_bytes, "bytes", "smallest size; each is four times the last")
      .at_least(4);
  table.add("max-bytes", &options.most_bytes, "bytes", "largest size").at_least(4);
  table.add("rounds", &options.rounds, "rounds", "in which every method is timed once").at_least(1);
  table.add_check([&](const OptionTable& t) {
    if (options.most_bytes < options.least_bytes)
      t.refuse("max-bytes", fmt::format("expected at least min-bytes, {}, found {}",
                                        options.least_bytes, options.most_bytes));
  });
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  const RankLayout layout = make_rank_layout(mpi);
  if (mpi.rank() == 0)
    fmt::print(
        "all_reduce of f32 sums, {}; {} rounds, the slowest rank counts\n"
        "algbw = size / median time, busbw = algbw * 2 (n - 1) / n, as nccl-tests define them\n"
        "{:>10}  {:<22} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9}\n"
        "{:>10}  {:<22} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9}\n",
        layout.describe(), options.rounds, "size", "method", "best", "median", "algbw", "busbw",
        "against", "of copy's", "", "", "us", "us", "GB/s", "GB/s", "library", "speed");
  bool all_right = true;
  benchmark_all_reduce(mpi, options, [&](const std::vector<AllReduceTime>& times) {
    if (mpi.rank() == 0) print_times(times, mpi.size());
    all_right = all_right && std::ranges::all_of(times, &AllReduceTime::is_right);
  });
  return all_right ? ExitCode::kDone : ExitCode::kFailed;
}

}  // namespace phalanx
