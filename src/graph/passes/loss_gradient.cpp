// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {
namespace {

/// A loss and its backward node, as places in the graph.
struct LossPair {
  std::size_t forward, backward;
};

// Operands of softmax_cross_entropy's backward node, as `differentiate` lists them.
constexpr std::size_t kLogSum = 3, kDloss = 4, kDlogSum = 5;

/// Whether a value is read by another node than `reader`, or is an output.
bool is_read_elsewhere(const Graph& graph, ValueId value, std::size_t reader) {
  for (std::size_t i = 0; i < graph.nodes().size(); ++i)
    if (i != reader && std::ranges::count(graph.nodes()[i].inputs, value) > 0) return true;
  return std::ranges::any_of(graph.outputs(), [&](const auto& o) { return o.second == value; });
}

/// Whether the node at `place` is the backward half of the forward node in `pair`, and the two can be one.
bool makes_a_pair(const Graph& graph, const LossPair& pair) {
  const Node &forward = graph.nodes()[pair.forward], &back = graph.nodes()[pair.backward];
  return back.backward && back.op == forward.op && back.attributes == forward.attributes &&
         back.inputs[0] == forward.inputs[0] && back.inputs[1] == forward.inputs[1] &&
         back.inputs[kLogSum] == forward.outputs[1] && back.inputs[kDloss] != kNoValue &&
         graph.value(back.inputs[kDloss]).kind == ValueKind::kInput &&
         back.inputs[kDlogSum] == kNoValue && back.outputs[0] != kNoValue &&
         !is_read_elsewhere(graph, forward.outputs[1], pair.backward);
}

/// The pair behind output `loss`; {0, 0} if there is none that can be one node.
LossPair find_pair(const Graph& graph) {
  const ValueId loss = graph.output("loss");
  const NodeId forward = graph.value(loss).producer;
  if (forward == kNoNode) return {0, 0};
  LossPair pair{static_cast<std::size_t>(forward), 0};
  const Node& node = graph.nodes()[pair.forward];
  if (node.op->name != "softmax_cross_entropy" || node.backward || node.outputs[0] != loss)
    return {0, 0};
  for (pair.backward = pair.forward + 1; pair.backward < graph.nodes().size(); ++pair.backward)
    if (makes_a_pair(graph, pair)) return pair;
  return {0, 0};
}

}  // namespace

Graph fuse_loss_gradient(const Graph& graph) {
  const LossPair pair = find_pair(graph);
  if (pair.backward == 0) return graph;
  const Node &forward = graph.nodes()[pair.forward], &back = graph.nodes()[pair.backward];
  GraphCopier copier(graph);
  ValueId correct = kNoValue;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (i == pair.backward) continue;
    if (i != pair.forward) {
      copier.copy(graph.nodes()[i]);
      continue;
    }
    const std::vector<ValueId> out =
        copier.to().add("softmax_cross_entropy_step", forward.attributes,
                        {copier.mapped(back.inputs[0]), copier.mapped(back.inputs[1]),
                         copier.mapped(back.inputs[kDloss])},
                        forward.name);
    copier.replace(forward.outputs[0], out[0]);
    correct = out[1];
    copier.replace(back.outputs[0], out[2]);
    copier.to().value(out[2]).name = graph.value(back.outputs[0]).name;
  }
  Graph fused = copier.finish();
  fused.set_output("correct", correct);
  return fused;
}

}  // namespace phalanx
