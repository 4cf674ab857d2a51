// SPDX-License-Identifier: Apache-2.0
#include "models/model.hpp"

#include <fmt/format.h>

#include "core/text.hpp"
#include "models/sequential.hpp"

namespace phalanx {

std::span<const NamedBuilder> model_builders() noexcept {
  static constexpr NamedBuilder kBuilders[] = {
      {"layers", build_layers, "layer lines"},
      {"mlp", build_mlp, "hidden, activation"},
  };
  return kBuilders;
}

Graph build_model(const ModelSpec& spec, std::int64_t batch) {
  std::vector<std::string> names;
  for (const NamedBuilder& builder : model_builders()) {
    names.emplace_back(builder.name);
    if (builder.name != spec.name) continue;
    std::vector<std::int64_t> sizes{batch};
    sizes.insert(sizes.end(), spec.sample.sizes().begin(), spec.sample.sizes().end());
    Graph graph;
    const ValueId y = builder.build(
        graph, spec,
        graph.add_input("x", {DType::kF32, Shape(std::span<const std::int64_t>(sizes))}));
    const Shape& found = graph.value(y).type.shape;
    if (!(found == Shape{batch, spec.outputs}))
      throw ConfigError(fmt::format(
          "the last layer '{}' gives {} per sample, but the data set's targets need [{}]",
          graph.value(y).name, Shape(found.sizes().subspan(1)).str(), spec.outputs));
    graph.set_output("y", y);
    return graph;
  }
  throw ConfigError(fmt::format("model: there is no model '{}'; the nearest is '{}'", spec.name,
                                nearest(spec.name, names)));
}

void attach_logits(Graph& graph, const std::string& loss) {
  if (loss != "softmax_cross_entropy" && loss != "binary_cross_entropy" &&
      loss != "mean_squared_error")
    throw ConfigError(fmt::format(
        "loss: expected softmax_cross_entropy, binary_cross_entropy or mean_squared_error, "
        "found '{}'",
        loss));
  const ValueId y = graph.output("y");
  const NodeId producer = graph.value(y).producer;
  const std::string_view skipped = loss == "softmax_cross_entropy"  ? "softmax"
                                   : loss == "binary_cross_entropy" ? "sigmoid"
                                                                    : "";
  const bool skips =
      producer != kNoNode && graph.nodes()[static_cast<std::size_t>(producer)].op->name == skipped;
  graph.set_output("logits",
                   skips ? graph.nodes()[static_cast<std::size_t>(producer)].inputs[0] : y);
}

void attach_loss(Graph& graph, const std::string& loss) {
  attach_logits(graph, loss);
  const ValueId logits = graph.output("logits");
  const auto count_correct = [&](ValueId target) {
    graph.set_output("correct", graph.add_one("count_correct", {}, {logits, target}, "correct"));
  };
  const TensorType type = graph.value(logits).type;
  if (loss == "softmax_cross_entropy") {
    const ValueId target = graph.add_input("target", {DType::kI64, Shape{type.shape[0]}});
    graph.set_output("loss", graph.add_one(loss, {}, {logits, target}, "loss"));
    count_correct(target);
  } else {
    const ValueId target = graph.add_input("target", {DType::kF32, type.shape});
    graph.set_output("loss", graph.add_one(loss, {{"reduction", std::string("row_mean_sum")}},
                                           {logits, target}, "loss"));
    if (loss == "binary_cross_entropy") count_correct(target);
  }
}

}  // namespace phalanx
