// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/session.hpp"
#include "cli/train_options.hpp"
#include "core/text.hpp"
#include "data/dataset.hpp"
#include "models/load.hpp"
#include "train/optimizer.hpp"
#include "train/trainer.hpp"

namespace phalanx {
namespace {

std::string storage_text(const Placement& p) {
  switch (p.storage) {
    case Storage::kFeed: return "fed";
    case Storage::kActivations: return fmt::format("@{}", p.offset);
    case Storage::kParameters: return "parameter";
    case Storage::kParameterCopies: return "parameter, bf16";
    case Storage::kStates: return "state";
    case Storage::kGradients: return fmt::format("gradient @{}", p.offset);
    case Storage::kNone: return "";
  }
  return "";
}

void print_plan(const Plan& plan, std::string_view title) {
  const Graph& graph = plan.graph();
  fmt::print("\n{}\n  {:<28} {:<22} {:<32} {:<18} {:>12}\n", title, "node", "operator", "output",
             "memory", "MFLOP");
  for (const PlannedStep& step : plan.steps()) {
    const Node& node = graph.nodes()[static_cast<std::size_t>(step.node)];
    const double mflop = static_cast<double>(node_flops(graph, node)) / 1e6;
    bool first = true;
    for (ValueId out : node.outputs) {
      if (out == kNoValue) continue;
      const std::string op =
          fmt::format("{}{}", node.op->name, step.kernel == nullptr ? " (view)" : "");
      fmt::print("  {:<28} {:<22} {:<32} {:<18} {:>12}\n", first ? node.name : "", first ? op : "",
                 graph.value(out).type.str(), storage_text(plan.placement(out)),
                 first && mflop > 0 ? fmt::format("{:.3f}", mflop) : "");
      first = false;
    }
  }
  print_line("nodes", fmt::format("{}", plan.steps().size()));
  print_line("flops", fmt::format("{:.3f} GFLOP", static_cast<double>(plan.flops()) / 1e9));
  print_line(
      "arena",
      fmt::format("{} ({} without sharing: {:.0f} % saved)", human_bytes(plan.arena_bytes()),
                  human_bytes(plan.unshared_bytes()),
                  100 - 100 * static_cast<double>(plan.arena_bytes()) /
                            static_cast<double>(std::max<std::size_t>(plan.unshared_bytes(), 1))));
}

void print_parameters(const ParameterLayout& layout) {
  fmt::print("\n  {:<28} {:<22} {:>14}\n", "parameter", "shape", "elements");
  std::int64_t count = 0;
  for (const ParameterSlot& slot : layout.parameters()) {
    fmt::print("  {:<28} {:<22} {:>14}\n", slot.name, slot.shape.str(), slot.shape.numel());
    count += slot.shape.numel();
  }
  for (const ParameterSlot& slot : layout.states())
    fmt::print("  {:<28} {:<22} {:>14}\n", slot.name + " (state)", slot.shape.str(),
               slot.shape.numel());
  print_line("parameters", fmt::format("{} ({} as f32)", count,
                                       human_bytes(static_cast<std::uint64_t>(count) * 4)));
}

void inspect_checkpoint(const std::string& path, std::int64_t batch, Stream& stream) {
  LoadedModel model = load_model(path, batch, stream);
  const RunRecord& r = model.record;
  fmt::print("{}\n", path);
  print_line("position", fmt::format("step {}, epoch {}, {} trained", r.step, r.epoch,
                                     human_seconds(r.seconds)));
  print_line("model", fmt::format("{} on {} -> {}, loss {}, {}", r.model.name, r.model.sample.str(),
                                  r.model.outputs, r.loss, r.precision));
  if (r.has_best) print_line("best " + r.best_metric, fmt::format("{:.6g}", r.best_value));
  print_line("data", "SHA-256 " + r.data_sha256);
  print_parameters(model.network->parameters().layout());
  print_plan(model.network->inference(batch).plan(), fmt::format("inference, batch {}", batch));
}

/// What a rank holds while it trains, for some numbers of ranks.
void print_memory(const TrainConfig& config, Network& network, Stream& stream) {
  const ParameterSet& parameters = network.parameters();
  const std::size_t arena = parameters.parameters().type.size_bytes();
  const std::size_t state =
      Optimizer(config, parameters.layout().parameter_elements(), nullptr, stream).state_bytes();
  const auto size = [](std::size_t bytes) { return human_bytes(bytes); };
  fmt::print("\n  {:<8} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}\n", "ranks", "batch",
             "parameters", "gradients", "optimizer", "activations", "per rank");
  for (const int ranks : {1, 2, 4, 8}) {
    const std::int64_t batch =
        share_of(share_of(config.batch_size, 0, static_cast<int>(config.accumulate)).size(), 0,
                 ranks)
            .size();
    const std::size_t activations = network.training(batch).plan().arena_bytes();
    const std::size_t weights = arena + parameters.copies().type.size_bytes();
    const std::size_t gradients = network.gradients().type.size_bytes();
    const std::size_t held =
        config.shard_optimizer ? state / static_cast<std::size_t>(ranks) : state;
    fmt::print("  {:<8} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}\n", ranks, batch, size(weights),
               size(gradients), size(held), size(activations),
               size(weights + gradients + held + activations));
  }
  if (!config.shard_optimizer)
    fmt::print("  (shard-optimizer = true cuts the optimizer's state over the ranks)\n");
}

void inspect_config(const TrainConfig& config, Stream& stream) {
  const DatasetInfo info = read_dataset_info(config.data);
  const std::int64_t batch = (config.batch_size + config.accumulate - 1) / config.accumulate;
  Network network({model_spec(config, info), resolve_loss(config, info), config.precision}, batch,
                  stream);
  print_parameters(network.parameters().layout());
  print_plan(network.training(batch).plan(), fmt::format("training on one rank, batch {}", batch));
  print_plan(network.inference(batch).plan(), fmt::format("inference, batch {}", batch));
  print_memory(config, network, stream);
}

}  // namespace

ExitCode inspect_command(MpiRuntime& mpi, Arguments arguments) {
  Stream stream{Device{}};
  const bool is_checkpoint = !arguments.empty() && arguments[0].ends_with(".h5");
  if (is_checkpoint) {
    std::string path;
    std::int64_t batch = 1;
    OptionTable table("phalanx inspect CHECKPOINT.h5 [--batch-size N]");
    table.group("Input");
    table.add("checkpoint", &path, "path", "made by `phalanx train`").required().positional();
    table.add("batch-size", &batch, "samples", "that the plan is shown for").at_least(1);
    if (parse_or_print(table, mpi, arguments) && mpi.rank() == 0)
      inspect_checkpoint(path, batch, stream);
    return ExitCode::kDone;
  }
  TrainConfig config;
  OptionTable table = train_options(config);
  if (parse_or_print(table, mpi, arguments) && mpi.rank() == 0) inspect_config(config, stream);
  return ExitCode::kDone;
}

}  // namespace phalanx
