// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {

Graph pool_before_relu(const Graph& graph) {
  std::vector<int> uses(graph.values().size(), 0);
  for (const Node& node : graph.nodes())
    for (ValueId in : node.inputs)
      if (in != kNoValue) ++uses[static_cast<std::size_t>(in)];
  for (const auto& [name, id] : graph.outputs()) ++uses[static_cast<std::size_t>(id)];
  const auto relu_of = [&](const Node& node) -> const Node* {
    if (node.op->name != "max_pool") return nullptr;
    const NodeId producer = graph.value(node.inputs[0]).producer;
    if (producer == kNoNode || uses[static_cast<std::size_t>(node.inputs[0])] != 1) return nullptr;
    const Node& relu = graph.nodes()[static_cast<std::size_t>(producer)];
    return relu.op->name == "relu" ? &relu : nullptr;
  };
  std::vector<bool> moved(graph.values().size(),
                          false);  // outputs of the relus that go behind their pool
  for (const Node& node : graph.nodes())
    if (relu_of(node) != nullptr) moved[static_cast<std::size_t>(node.inputs[0])] = true;

  GraphCopier copier(graph);
  for (const Node& node : graph.nodes()) {
    if (moved[static_cast<std::size_t>(node.outputs[0])]) {
      copier.replace(node.outputs[0], copier.mapped(node.inputs[0]));
      continue;
    }
    copier.copy(node);
    if (const Node* relu = relu_of(node))
      copier.replace(node.outputs[0],
                     copier.to().add_one("relu", {}, {copier.mapped(node.outputs[0])}, relu->name));
  }
  return copier.finish();
}

}  // namespace phalanx
