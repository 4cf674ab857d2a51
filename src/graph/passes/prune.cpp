// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {

Graph prune_unused(const Graph& graph) {
  std::vector<bool> wanted(graph.values().size(), false);
  for (const auto& [name, id] : graph.outputs()) wanted[static_cast<std::size_t>(id)] = true;
  std::vector<bool> keep(graph.nodes().size(), false);
  for (std::size_t i = graph.nodes().size(); i-- > 0;) {
    const Node& node = graph.nodes()[i];
    for (ValueId out : node.outputs)
      keep[i] =
          keep[i] || (out != kNoValue && (wanted[static_cast<std::size_t>(out)] ||
                                          graph.value(out).kind == ValueKind::kParameterGradient));
    if (!keep[i]) continue;
    for (ValueId in : node.inputs)
      if (in != kNoValue) wanted[static_cast<std::size_t>(in)] = true;
  }
  GraphCopier copier(graph);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i)
    if (keep[i]) copier.copy(graph.nodes()[i]);
  return copier.finish();
}

}  // namespace phalanx
