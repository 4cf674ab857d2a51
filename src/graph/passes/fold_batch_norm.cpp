// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {
namespace {

/// A product whose rows of weights belong to channels of its output: only these can take a factor per channel.
bool takes_factors(const Node& node) {
  if (node.backward || !node.attributes.get_string("activation", "").empty()) return false;
  if (node.op->name == "conv") return true;
  return node.op->name == "gemm" && node.attributes.get_int("transB", 0) == 1 &&
         node.attributes.get_float("alpha", 1.0) == 1.0 &&
         node.attributes.get_float("beta", 1.0) == 1.0;
}

bool is_parameter(const Graph& graph, ValueId id) {
  return id != kNoValue && graph.value(id).kind == ValueKind::kParameter;
}

/// What can be folded: batch_norm node -> the product that it alone reads.
std::map<const Node*, const Node*> find_pairs(const Graph& graph) {
  std::vector<int> uses(graph.values().size(), 0);
  for (const Node& node : graph.nodes())
    for (ValueId in : node.inputs)
      if (in != kNoValue) ++uses[static_cast<std::size_t>(in)];
  for (const auto& [name, id] : graph.outputs()) ++uses[static_cast<std::size_t>(id)];
  std::map<const Node*, const Node*> pairs;
  for (const Node& node : graph.nodes()) {
    if (node.op->name != "batch_norm" || node.attributes.get_int("training_mode", 0) != 0) continue;
    const ValueId x = node.inputs[0];
    const NodeId producer = graph.value(x).producer;
    if (producer == kNoNode || uses[static_cast<std::size_t>(x)] != 1) continue;
    const Node& product = graph.nodes()[static_cast<std::size_t>(producer)];
    const ValueId weight = product.inputs.size() > 1 ? product.inputs[1] : kNoValue;
    const ValueId bias = product.inputs.size() > 2 ? product.inputs[2] : kNoValue;
    const bool fits = takes_factors(product) && is_parameter(graph, weight) &&
                      uses[static_cast<std::size_t>(weight)] == 1 &&
                      (bias == kNoValue ||
                       (is_parameter(graph, bias) && uses[static_cast<std::size_t>(bias)] == 1));
    if (fits) pairs[&node] = &product;
  }
  return pairs;
}

}  // namespace

FoldedGraph fold_batch_norm(const Graph& graph) {
  const auto pairs = find_pairs(graph);
  std::map<const Node*, const Node*> norm_of;
  for (const auto& [norm, product] : pairs) norm_of[product] = norm;
  FoldedGraph folded;
  GraphCopier copier(graph);
  const auto name_of = [&](ValueId id) { return graph.value(id).name; };
  for (const Node& node : graph.nodes()) {
    if (pairs.contains(&node)) {
      copier.replace(node.outputs[0], copier.mapped(node.inputs[0]));
      continue;
    }
    const auto norm = norm_of.find(&node);
    if (norm == norm_of.end()) {
      copier.copy(node);
      continue;
    }
    const std::vector<ValueId>& of_norm = norm->second->inputs;  // x, scale, bias, mean, var
    BatchNormFold fold{.weight = name_of(node.inputs[1]),
                       .bias = {},
                       .had_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue,
                       .scale = name_of(of_norm[1]),
                       .shift = name_of(of_norm[2]),
                       .mean = name_of(of_norm[3]),
                       .variance = name_of(of_norm[4]),
                       .epsilon = norm->second->attributes.get_float("epsilon", 1e-5)};
    std::vector<ValueId> inputs{copier.mapped(node.inputs[0]), copier.mapped(node.inputs[1])};
    if (fold.had_bias) {
      fold.bias = name_of(node.inputs[2]);
      inputs.push_back(copier.mapped(node.inputs[2]));
    } else {
      fold.bias = norm->second->name + ".folded_bias";
      inputs.push_back(copier.to().add_parameter(fold.bias, graph.value(of_norm[2]).type, {}));
    }
    copier.replace(node.outputs[0],
                   copier.to().add_one(node.op->name, node.attributes, inputs, node.name));
    folded.folds.push_back(std::move(fold));
  }
  folded.graph = copier.finish();
  return folded;
}

}  // namespace phalanx
