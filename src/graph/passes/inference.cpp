// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {

Graph for_inference(const Graph& graph) {
  GraphCopier copier(graph);
  for (const Node& node : graph.nodes()) {
    if (node.op->name == "dropout") {
      copier.replace(node.outputs[0], copier.mapped(node.inputs[0]));
      continue;
    }
    if (node.op->name == "batch_norm") {
      Attributes attributes = node.attributes;
      attributes.set("training_mode", std::int64_t{0});
      std::vector<ValueId> inputs;
      for (ValueId in : node.inputs) inputs.push_back(copier.mapped(in));
      copier.replace(node.outputs[0],
                     copier.to().add_one("batch_norm", attributes, inputs, node.name));
      continue;
    }
    copier.copy(node);
  }
  return prune_unused(copier.finish());
}

}  // namespace phalanx
