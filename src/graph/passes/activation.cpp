// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {
namespace {

bool takes_activation(const Node& node) {
  return node.op->name == "gemm" || node.op->name == "conv";
}

}  // namespace

Graph fuse_activation(const Graph& graph) {
  std::vector<int> uses(graph.values().size(), 0);
  for (const Node& node : graph.nodes())
    for (ValueId in : node.inputs)
      if (in != kNoValue) ++uses[static_cast<std::size_t>(in)];
  for (const auto& [name, id] : graph.outputs()) ++uses[static_cast<std::size_t>(id)];
  std::vector<bool> fused(graph.values().size(),
                          false);  // outputs of products that a relu alone reads
  for (const Node& node : graph.nodes()) {
    if (node.op->name != "relu" || node.backward) continue;
    const ValueId x = node.inputs[0];
    const NodeId producer = graph.value(x).producer;
    if (producer == kNoNode || uses[static_cast<std::size_t>(x)] != 1) continue;
    const Node& product = graph.nodes()[static_cast<std::size_t>(producer)];
    fused[static_cast<std::size_t>(x)] = takes_activation(product) && !product.backward &&
                                         product.attributes.get_string("activation", "").empty();
  }

  GraphCopier copier(graph);
  for (const Node& node : graph.nodes()) {
    if (node.op->name == "relu" && !node.backward &&
        fused[static_cast<std::size_t>(node.inputs[0])]) {
      copier.replace(node.outputs[0], copier.mapped(node.inputs[0]));
      continue;
    }
    Node fresh = node;
    if (takes_activation(node) && fused[static_cast<std::size_t>(node.outputs[0])])
      fresh.attributes.set("activation", std::string("relu"));
    copier.copy(fresh);
  }
  return copier.finish();
}

}  // namespace phalanx
