// SPDX-License-Identifier: Apache-2.0
// Times training steps of a configured model on data that is made up, on the ranks it is started on.
//
//   mpirun -n 2 bench_train_step configs/cifar10_cnn.cfg --batch-size 64 [--steps 50] [--nodes] [--json FILE]
//
// Prints samples/s, the share of the f32 FMA peak measured in the same run (model flops: matrix products and convolutions,
// forward and backward), peak memory, and with --nodes where the time goes.
#include <fmt/format.h>
#include <immintrin.h>
#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>

#include "bench/made_up_training.hpp"
#include "cli/train_options.hpp"
#include "comm/mpi_runtime.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

#ifdef __AVX512F__
using Vector = __m512;
Vector broadcast(float v) { return _mm512_set1_ps(v); }
Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
#else
using Vector = __m256;
Vector broadcast(float v) { return _mm256_set1_ps(v); }
Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
#endif

/// Multiply-adds of one core in GFLOP/s: independent chains that fill the pipelines.
double fma_peak() {
  constexpr std::int64_t kRounds = 3'000'000;
  constexpr int kChains = 12, kLanes = sizeof(Vector) / sizeof(float);
  const Vector factor = broadcast(0.999f), term = broadcast(1e-6f);
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    Vector sums[kChains];
    for (Vector& s : sums) s = broadcast(1e-3f);
    const auto begin = Clock::now();
    for (std::int64_t i = 0; i < kRounds; ++i)
      for (Vector& s : sums) s = multiply_add(s, factor, term);
    const double seconds = seconds_since(begin);
    for (Vector& s : sums) asm volatile("" : : "x"(s));
    best = std::max(best, 2.0 * kLanes * kChains * kRounds / seconds / 1e9);
  }
  return best;
}

int run(MpiRuntime& mpi, std::vector<std::string> arguments) {
  std::int64_t steps = 50;
  bool nodes = false;
  std::string json;
  TrainConfig config;
  OptionTable table = train_options(config);
  table.group("Benchmark");
  table.add("steps", &steps, "", "timed steps").at_least(1);
  table.add("nodes", &nodes, "", "print the time of every node on rank 0");
  table.add("json", &json, "path", "also write the figures there");
  if (table.parse(arguments) != CliAction::kRun) {
    fmt::print("{}", table.help());
    return 0;
  }
  omp_set_num_threads(static_cast<int>(config.threads));
  const RankLayout layout = make_rank_layout(mpi);
  const auto comm =
      mpi.size() > 1 ? make_mpi_communicator(
                           mpi, config.progress == "thread" ? Progress::kThread : Progress::kInline,
                           config.deadline_seconds)
                     : make_single_communicator();
  Stream stream{Device{}};
  MadeUpTraining training(config, layout, *comm, stream);
  const double peak = fma_peak();
  for (int i = 0; i < 5; ++i) training.run_step();
  if (nodes) training.executor().enable_timing();
  std::vector<double> times;
  double wait = training.loader().wait_seconds(), communication = 0, exposed = 0;
  comm->barrier();
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto begin = Clock::now();
    const StepReport report = training.run_step();
    times.push_back(seconds_since(begin));
    communication += report.overlap.communication_seconds;
    exposed += report.overlap.exposed_seconds;
  }
  wait = training.loader().wait_seconds() - wait;
  comm->barrier();
  if (layout.rank != 0) return 0;
  const double total = std::accumulate(times.begin(), times.end(), 0.0);
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const auto shards = static_cast<double>(std::max<std::int64_t>(training.shards(), 1));
  const double flops = static_cast<double>(training.executor().plan().flops()) * shards;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double samples = static_cast<double>(config.batch_size) / median;
  fmt::print("{} ranks, batch {} ({} per rank), {}\n", layout.size, config.batch_size,
             training.rows_per_rank(), config.precision);
  fmt::print("  step      {:.3f} ms median, {:.3f} ms mean, {:.0f} samples/s\n", 1e3 * median,
             1e3 * total / static_cast<double>(steps), samples);
  fmt::print(
      "  compute   {:.1f} GFLOP/s per rank, {:.1f} % of the measured f32 peak of one core ({:.1f} "
      "GFLOP/s)\n",
      flops / median / 1e9, 100 * flops / median / 1e9 / peak, peak);
  fmt::print(
      "  waiting   {:.3f} ms for data, {:.3f} ms for communication (of {:.3f} ms) per step\n",
      1e3 * wait / static_cast<double>(steps), 1e3 * exposed / static_cast<double>(steps),
      1e3 * communication / static_cast<double>(steps));
  fmt::print("  memory    {:.1f} MiB peak resident, arena {:.1f} MiB\n",
             static_cast<double>(usage.ru_maxrss) / 1024,
             static_cast<double>(training.network().arena_bytes()) / (1 << 20));
  if (nodes) {
    const Executor& timed = training.executor();
    for (std::size_t s = 0; s < timed.step_seconds().size(); ++s) {
      const Node& node = timed.plan().graph().nodes()[s];
      const double ms = 1e3 * timed.step_seconds()[s] / static_cast<double>(steps);
      const double gflop =
          static_cast<double>(node_flops(timed.plan().graph(), node)) * shards / 1e9;
      fmt::print("    {:<28} {:<24} {:>9.3f} ms {:>8.1f} GFLOP/s\n", node.name, node.op->name, ms,
                 gflop / ms * 1e3);
    }
  }
  if (!json.empty())
    std::ofstream(json) << fmt::format(
        R"({{"samples_per_second": {}, "step_ms": {}, "share_of_peak": {}, "peak_gflops": {}, "peak_rss_mib": {}}})",
        samples, 1e3 * median, flops / median / 1e9 / peak, peak,
        static_cast<double>(usage.ru_maxrss) / 1024);
  return 0;
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  phalanx::MpiRuntime mpi(argc, argv);
  try {
    return phalanx::run(mpi, std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    mpi.abort(1);
  }
}
