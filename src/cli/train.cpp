// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "cli/session.hpp"
#include "cli/train_options.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "data/dataset.hpp"
#include "serve/in_place.hpp"
#include "serve/safe_file.hpp"
#include "train/run_outputs.hpp"
#include "train/trainer.hpp"

namespace phalanx {
namespace {

void print_straggler(const RankLayout& layout, const std::vector<RankTimes>& ranks) {
  const Straggler slowest = find_straggler(ranks);
  const auto r = static_cast<std::size_t>(slowest.rank);
  const StepTime& t = ranks[r].median;
  print_line(
      "slowest rank",
      fmt::format(
          "{} on {}, {:.0f} % above the median rank (median step: data {:.1f}, compute {:.1f}, "
          "communication {:.1f} ms)",
          slowest.rank, layout.hosts[r], 100 * slowest.excess, 1e3 * static_cast<double>(t.data),
          1e3 * static_cast<double>(t.compute), 1e3 * static_cast<double>(t.communication)));
}

/// What the checkpoints that were written beside the training cost it.
void print_stall(const TrainResult& result) {
  const auto checkpoints = static_cast<double>(result.stall.checkpoints);
  if (checkpoints == 0) return;
  const double each = result.stall.seconds / checkpoints;
  const auto step = static_cast<double>(result.ranks.front().median.step);
  print_line("saving", fmt::format("{} checkpoints while training, each held it up for {:.1f} ms "
                                   "({:.0f} % of a step)",
                                   checkpoints, 1e3 * each, 100 * each / step));
}

/// One line, without the reasons for which a source is absent.
void print_energy(const TrainResult& result) {
  const EnergyUse& use = result.energy;
  if (!use.is_known)
    return print_line("energy", "not measured here; watts-per-node gives an estimate");
  const double joules = use.total_joules();
  std::string text =
      fmt::format("{}{:.4g} kJ, {:.3g} J per sample", use.is_estimate ? "about " : "", joules / 1e3,
                  joules / std::max(result.samples, 1.0));
  if (use.grid_g_per_kwh > 0) text += fmt::format(", {:.3g} gCO2e", use.grams_co2e());
  print_line("energy", fmt::format("{} ({})", text, use.sources.substr(0, use.sources.find(';'))));
}

void report(const TrainConfig& config, const Session& session, const TrainResult& result) {
  fmt::print("\ntraining ended: {} after {} steps\n", result.reason, result.steps);
  if (result.test.samples > 0) {
    if (result.test.is_classifier)
      print_line("test accuracy",
                 fmt::format("{:.4f} (loss {:.4f}, {} samples)", result.test.accuracy,
                             result.test.loss, result.test.samples));
    else
      print_line("test error",
                 fmt::format("mean absolute {:.4g}, R2 {:.4f} (loss {:.4f}, {} samples)",
                             result.test.mean_absolute_error, result.test.r2, result.test.loss,
                             result.test.samples));
  }
  if (result.steps == result.resumed_from) {
    print_line("training time",
               fmt::format("{}, all of it before this call: nothing was left to do",
                           human_seconds(result.seconds)));
  } else {
    print_line("training time",
               fmt::format("{} ({:.0f} samples/s on {} rank{})", human_seconds(result.seconds),
                           result.samples_per_second, session.layout.size,
                           session.layout.size == 1 ? "" : "s"));
    if (result.graphs.graphs > 0)
      print_line("CUDA graphs", fmt::format("{} steps launched as a whole, {} graphs",
                                            result.graphs.launches, result.graphs.graphs));
    if (session.layout.size > 1 && result.graphs.graphs > 0)
      print_line("communication", "not timed within CUDA graphs");
    else if (session.layout.size > 1)
      print_line(
          "communication",
          fmt::format(
              "{:.1f} % of the time waited for; {:.0f} % hidden behind backward ({})",
              100 * result.exposed_share, 100 * result.hidden_share,
              session.progress == Progress::kThread ? "progress = thread" : "progress = inline"));
    print_line("data wait", fmt::format("{:.1f} % of the time", 100 * result.wait_share));
    if (session.layout.size > 1) print_straggler(session.layout, result.ranks);
    print_stall(result);
    print_energy(result);
  }
  print_line("checkpoint", result.checkpoint);
  if (!result.best_checkpoint.empty()) print_line("best", result.best_checkpoint);
  print_line("metrics", RunOutputs::metrics_path(config.output));
  print_line("plot", RunOutputs::plot_path(config.output));
}

void go_on_serving(const TrainConfig& config, const StopSignals& stop, Session& session,
                   TrainResult& result) {
  InPlaceOptions options;
  options.program = own_program();
  options.should_end = [&stop] { return stop.raised(); };
  for (std::string_view word : split_words(config.serve_flags)) options.flags.emplace_back(word);
  const std::string name = std::filesystem::path(config.output).filename().string();
  if (is_model_name(name)) options.model = name;
  std::fflush(stdout);
  serve_in_place(options, session.layout, *session.comm,
                 {std::move(result.record), std::move(result.network)}, session.stream);
}

}  // namespace

ExitCode train_command(MpiRuntime& mpi, Arguments arguments) {
  TrainConfig config;
  OptionTable table = train_options(config);
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  Session session(mpi, {.device = config.device,
                        .gemm = config.gemm,
                        .conv = config.conv,
                        .progress = config.progress,
                        .deadline_seconds = config.deadline_seconds,
                        .threads = config.threads,
                        .reproducible = config.reproducible,
                        .same_kernels = config.partition == "column"});
  if (session.is_first()) {
    log_info("{}", session.layout.describe());
    if (!session.computes_on.empty()) log_info("computes {}", session.computes_on);
  }
  const std::size_t cache_bytes = static_cast<std::size_t>(config.cache_mib) << 20;
  Dataset train(config.data, config.train_split, cache_bytes);
  std::optional<Dataset> test;
  if (!config.test_split.empty()) test.emplace(config.data, config.test_split, cache_bytes);
  const std::string effective = dump_config(config);
  const StopSignals stop(config.stop_signals);
  TrainResult result =
      run_training(config, {session.layout, *session.comm, session.stream, train,
                            test ? &*test : nullptr, effective, &stop, config.then_serve});
  if (session.is_first()) report(config, session, result);
  if (config.then_serve && result.reason != "preempted")
    go_on_serving(config, stop, session, result);
  return result.reason == "preempted" ? ExitCode::kPreempted : ExitCode::kDone;
}

}  // namespace phalanx
