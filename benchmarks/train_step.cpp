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
#include <random>

#include "cli/train_options.hpp"
#include "comm/mpi_runtime.hpp"
#include "train/trainer.hpp"
#include "train/training_step.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Rows of noise with the shape of a real data set.
class NoiseSource final : public RowSource {
 public:
  NoiseSource(DatasetInfo info, std::int64_t rows) : info_(std::move(info)), rows_(rows) {
    std::mt19937 generator(1);
    bytes_.resize(static_cast<std::size_t>(info_.sample.numel()) * size_bytes(info_.x_dtype) * 64);
    for (std::byte& b : bytes_) b = static_cast<std::byte>(generator() & 0x3fu);
  }
  const DatasetInfo& info() const noexcept override { return info_; }
  std::int64_t size() const noexcept override { return rows_; }
  void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override {
    const std::size_t row_bytes =
        static_cast<std::size_t>(info_.sample.numel()) * size_bytes(info_.x_dtype);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(bytes_.data() + static_cast<std::size_t>(rows[i] % 64) * row_bytes, row_bytes,
                  x + i * row_bytes);
      if (info_.target == TargetKind::kClass)
        reinterpret_cast<std::int64_t*>(y)[i] = rows[i] % info_.classes;
      else
        for (std::int64_t k = 0; k < info_.targets; ++k)
          reinterpret_cast<float*>(y)[static_cast<std::int64_t>(i) * info_.targets + k] =
              static_cast<float>(rows[i] % 2);
    }
  }

 private:
  DatasetInfo info_;
  std::int64_t rows_;
  std::vector<std::byte> bytes_;
};

DatasetInfo noise_info(const std::string& kind) {
  DatasetInfo info;
  const auto image = [&](std::int64_t channels, std::int64_t side) {
    info.kind = SampleKind::kImage;
    info.sample = Shape{channels, side, side};
    info.x_dtype = DType::kU8;
    info.classes = 10;
    info.mean.assign(static_cast<std::size_t>(channels), 0.5f);
    info.std.assign(static_cast<std::size_t>(channels), 0.25f);
  };
  const auto table = [&](std::int64_t features, bool binary) {
    info.sample = Shape{features};
    info.target = TargetKind::kValues;
    info.binary = binary;
    info.mean.assign(static_cast<std::size_t>(features), 0.0f);
    info.std.assign(static_cast<std::size_t>(features), 1.0f);
    info.target_mean = {0.5f};
    info.target_std = {0.5f};
  };
  if (kind == "cifar10")
    image(3, 32);
  else if (kind == "fashion")
    image(1, 28);
  else if (kind == "binary")
    table(30, true);
  else if (kind == "regression")
    table(10, false);
  else
    throw ConfigError(
        fmt::format("--data: expected cifar10, fashion, binary or regression, found '{}'", kind));
  return info;
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
  NoiseSource source(noise_info(config.data), config.batch_size * 64);
  const std::int64_t per_rank =
      (config.batch_size / config.accumulate + layout.size - 1) / layout.size;
  Network network({.model = model_spec(config, source.info()),
                   .loss = resolve_loss(config, source.info()),
                   .precision = config.precision,
                   .sums_states = config.reproducible},
                  per_rank, stream, comm.get());
  // What a step runs, all shards of this rank in one plan if it is reproducible.
  const std::int64_t shards = config.reproducible ? config.virtual_shards / layout.size : 0;
  const auto executor = [&]() -> Executor& {
    return network.training(per_rank / std::max<std::int64_t>(shards, 1), shards);
  };
  network.initialise(1);
  const auto reducer = make_gradient_reducer(config, network, *comm, stream);
  Optimizer optimizer(config, network.parameters().parameters().numel(), reducer.get(), stream);
  TrainingStep step(config, network, optimizer, reducer.get(), *comm, stream);
  Loader loader(source,
                Sampler({.rows = source.size(),
                         .batch_size = config.batch_size,
                         .micro_batches = config.accumulate,
                         .rank = layout.rank,
                         .size = layout.size,
                         .virtual_shards =
                             config.reproducible ? static_cast<int>(config.virtual_shards) : 0}),
                {}, config.prefetch);
  loader.begin(0);
  const double peak = fma_peak();
  for (int i = 0; i < 5; ++i) step.run(loader, i, {.learning_rate = 1e-3});
  if (nodes) executor().enable_timing();
  std::vector<double> times;
  double wait = loader.wait_seconds(), communication = 0, exposed = 0;
  comm->barrier();
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto begin = Clock::now();
    const StepReport report = step.run(loader, 5 + i, {.learning_rate = 1e-3});
    times.push_back(seconds_since(begin));
    communication += report.overlap.communication_seconds;
    exposed += report.overlap.exposed_seconds;
  }
  wait = loader.wait_seconds() - wait;
  comm->barrier();
  if (layout.rank != 0) return 0;
  const double total = std::accumulate(times.begin(), times.end(), 0.0);
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const double flops = static_cast<double>(executor().plan().flops()) *
                       static_cast<double>(std::max<std::int64_t>(shards, 1));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double samples = static_cast<double>(config.batch_size) / median;
  fmt::print("{} ranks, batch {} ({} per rank), {}\n", layout.size, config.batch_size, per_rank,
             config.precision);
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
             static_cast<double>(network.arena_bytes()) / (1 << 20));
  if (nodes) {
    const Executor& timed = executor();
    for (std::size_t s = 0; s < timed.step_seconds().size(); ++s) {
      const Node& node = timed.plan().graph().nodes()[s];
      const double ms = 1e3 * timed.step_seconds()[s] / static_cast<double>(steps);
      const double gflop = static_cast<double>(node_flops(timed.plan().graph(), node)) *
                           static_cast<double>(std::max<std::int64_t>(shards, 1)) / 1e9;
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
