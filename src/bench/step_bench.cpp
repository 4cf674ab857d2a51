// SPDX-License-Identifier: Apache-2.0
#include "bench/step_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>

#include "bench/made_up_training.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kWarmUps = 5;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double node_floor(const Graph& graph, const Node& node, const MachineRates& rates,
                  const std::string& precision) {
  std::set<ValueId> operands(node.inputs.begin(), node.inputs.end());
  operands.insert(node.outputs.begin(), node.outputs.end());
  operands.erase(kNoValue);
  double bytes = 0;
  bool is_bf16 = false;
  for (const ValueId id : operands) {
    bytes += static_cast<double>(graph.value(id).type.size_bytes());
    is_bf16 = is_bf16 || graph.value(id).type.dtype == DType::kBf16;
  }
  const std::string type = is_bf16 ? "bf16" : precision == "tf32" ? "tf32" : "f32";
  return rates.floor_seconds(bytes, static_cast<double>(node_flops(graph, node)), type);
}

/// Parameters and state read and written, gradients read, the copy in bf16 written.
double update_floor(MadeUpTraining& training, const MachineRates& rates) {
  const auto parameters =
      static_cast<double>(training.network().parameters().parameters().type.size_bytes());
  const auto copies = training.network().parameters().copies();
  const auto slots = static_cast<double>(training.optimizer().slots().size());
  return rates.floor_seconds(
      parameters * (3 + 2 * slots) + (copies ? static_cast<double>(copies.type.size_bytes()) : 0),
      0, "f32");
}

/// The nodes of the plan once more, with an event behind each: they read what the last step has fed.
void time_nodes(MadeUpTraining& training, std::int64_t rounds, Stream& stream,
                std::vector<NodeTime>& nodes) {
  std::vector<std::unique_ptr<Event>> events;
  for (std::size_t i = 0; i <= nodes.size(); ++i)
    events.push_back(std::make_unique<Event>(stream.device(), Event::Clock::kDevice));
  std::vector<std::vector<double>> seconds(nodes.size());
  ParameterSet& parameters = training.network().parameters();
  const TensorView gradients{training.network().gradients().data,
                             {DType::kF32, Shape{parameters.layout().parameter_elements()}}};
  for (std::int64_t round = 0; round < rounds; ++round) {
    std::size_t next = 0;
    // Parameters that are new, as in every step: weights are packed again.
    const auto version = static_cast<std::uint64_t>(1'000'000 + round);
    parameters.set_copies_version(version);
    events[next++]->record(stream);
    training.executor().run({.parameter_version = version, .on_node_done = [&](const Node&, auto) {
                               events[next++]->record(stream);
                             }});
    training.optimizer().update({parameters.parameters(), gradients, parameters.copies()}, 0.0, 1.0,
                                round, stream);
    events[next]->record(stream);
    stream.synchronize();
    for (std::size_t i = 0; i < nodes.size(); ++i)
      seconds[i].push_back(seconds_between(*events[i], *events[i + 1]));
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i].seconds = median(seconds[i]);
}

}  // namespace

StepTime time_step(const TrainConfig& config, const MachineRates& rates, std::int64_t steps,
                   const RankLayout& layout, Communicator& comm, Stream& stream) {
  MadeUpTraining training(config, layout, comm, stream);
  StepTime found{
      .what = fmt::format("{}, batch {}, {}", config.data, config.batch_size, config.precision)};
  std::vector<double> seconds;
  for (std::int64_t i = -std::min(kWarmUps, steps); i < steps; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    training.run_step();
    if (i >= 0)
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  found.seconds = median(seconds);
  const Plan& plan = training.executor().plan();
  for (const PlannedStep& step : plan.steps()) {
    if (step.kernel == nullptr) continue;
    const Node& node = plan.graph().nodes()[static_cast<std::size_t>(step.node)];
    found.nodes.push_back(
        {.name = node.name,
         .op = std::string(node.op->name),
         .is_backward = node.backward,
         .floor_seconds = node_floor(plan.graph(), node, rates, config.precision)});
  }
  found.nodes.push_back(
      {.name = "update", .op = config.optimizer, .floor_seconds = update_floor(training, rates)});
  time_nodes(training, steps, stream, found.nodes);
  for (const NodeTime& n : found.nodes) found.floor_seconds += n.floor_seconds;
  return found;
}

}  // namespace phalanx
