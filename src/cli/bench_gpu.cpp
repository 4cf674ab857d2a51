// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>

#include "bench/report.hpp"
#include "cli/cifar10_cnn.hpp"
#include "cli/options.hpp"
#include "cli/session.hpp"
#include "cli/train_options.hpp"
#include "core/error.hpp"

namespace phalanx {
namespace {

struct Options {
  OperatorBenchOptions kernels{.product_size = OperatorBenchOptions::kGpuProductSize};
  double size_mib = OperatorBenchOptions::kGpuMib;
  bool has_step = true;
  std::int64_t steps = 30;
  std::int64_t batch_size = 512;
  std::string precision = "bf16";
  std::string json;
};

OptionTable options_of(Options& o) {
  OptionTable table("phalanx bench gpu [options]    (one rank)");
  table.group("Kernels");
  table.add("only", &o.kernels.only, "prefix", "operators whose names begin so");
  table.add("rounds", &o.kernels.rounds, "rounds", "in which every kernel is timed once")
      .at_least(1);
  table
      .add("size-mib", &o.size_mib, "MiB",
           "least size of a kernel's largest operand; less fits into caches")
      .above(0);
  table
      .add("product-size", &o.kernels.product_size, "",
           "side of the matrices whose product by cuBLASLt is the ceiling")
      .at_least(1);
  table.group("Step of cifar10_cnn");
  table.add("step", &o.has_step, "", "time it beside the sum of its kernels' floors");
  table.add("steps", &o.steps, "steps", "that are timed").at_least(1);
  table.add("batch-size", &o.batch_size, "samples", "of a step").at_least(1);
  table.add("precision", &o.precision, "", "of activations and products")
      .choices({"f32", "tf32", "bf16"});
  table.group("Output");
  table.add("json", &o.json, "path", "also write all figures there");
  return table;
}

TrainConfig step_config(const Options& options) {
  TrainConfig config = read_train_config(kCifar10Cnn, "configs/cifar10_cnn.cfg");
  config.data = "cifar10";
  config.batch_size = options.batch_size;
  config.precision = options.precision;
  return config;
}

}  // namespace

ExitCode bench_gpu_command(MpiRuntime& mpi, Arguments arguments) {
  Options options;
  OptionTable table = options_of(options);
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  require<ConfigError>(mpi.size() == 1,
                       fmt::format("bench gpu: expected one rank, found {}", mpi.size()));
  constexpr double kDeadlineSeconds = 60;
  Session session(mpi, {.device = "cuda", .deadline_seconds = kDeadlineSeconds});
  options.kernels.least_bytes =
      static_cast<std::size_t>(std::ceil(options.size_mib * (std::size_t{1} << 20)));
  BenchReport report(session.stream, options.kernels.rounds);
  const MachineRates rates = run_operator_bench(options.kernels, session.stream, report);
  if (options.has_step)
    report.add(time_step(step_config(options), rates, options.steps, session.layout, *session.comm,
                         session.stream));
  if (!options.json.empty()) report.write_json(options.json);
  return ExitCode::kDone;
}

}  // namespace phalanx
