// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {
namespace {

class Differentiator {
 public:
  Differentiator(const Graph& forward, const std::string& loss) : graph_(forward), loss_(loss) {}

  Graph run() {
    mark_values_that_need_gradients();
    const ValueId loss = graph_.output(loss_);
    require(needs_gradient_[static_cast<std::size_t>(loss)],
            "no parameter has an influence on the loss");
    contributions_.resize(graph_.values().size());
    parameter_gradients_.assign(graph_.values().size(), kNoValue);
    const ValueId seed = graph_.add_input("d" + loss_, graph_.value(loss).type);
    contributions_[static_cast<std::size_t>(loss)].push_back(seed);
    for (std::size_t i = graph_.nodes().size(); i-- > 0;) add_backward_of(Node(graph_.nodes()[i]));
    return std::move(graph_);
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  static bool differentiable(const Node& node, std::size_t input) {
    return (node.op->differentiable >> std::min<std::size_t>(input, 31) & 1u) != 0;
  }

  void mark_values_that_need_gradients() {
    needs_gradient_.assign(graph_.values().size(), false);
    for (std::size_t i = 0; i < graph_.values().size(); ++i)
      needs_gradient_[i] = graph_.values()[i].kind == ValueKind::kParameter ||
                           graph_.values()[i].kind == ValueKind::kParameterCopy;
    for (const Node& node : graph_.nodes()) {
      bool any = false;
      for (std::size_t i = 0; i < node.inputs.size(); ++i)
        any = any || (node.inputs[i] != kNoValue && differentiable(node, i) &&
                      needs_gradient_[index(node.inputs[i])]);
      for (ValueId out : node.outputs) needs_gradient_[index(out)] = any;
    }
  }

  /// The sum of all that flows back into a value; kNoValue if nothing does.
  ValueId gradient_of(ValueId id) {
    std::vector<ValueId>& parts = contributions_[index(id)];
    while (parts.size() > 1) {
      const ValueId a = parts[0], b = parts[1];
      const TensorType type = graph_.value(a).type;
      const ValueId sum =
          graph_.add_one("add", {}, {a, b}, fmt::format("d{}.sum", graph_.value(id).name));
      graph_.value(sum).type = type;
      parts.erase(parts.begin());
      parts[0] = sum;
    }
    return parts.empty() ? kNoValue : parts[0];
  }

  void add_backward_of(const Node& node) {
    Node back{.name = "d" + node.name,
              .op = node.op,
              .backward = true,
              .attributes = node.attributes,
              .random_index = node.random_index};
    std::vector<ValueId> dys;
    bool any = false;
    for (ValueId out : node.outputs) {
      dys.push_back(gradient_of(out));
      any = any || dys.back() != kNoValue;
    }
    const bool wanted = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId in) {
      return in != kNoValue && needs_gradient_[index(in)];
    });
    if (!any || !wanted || node.op->differentiable == 0) return;
    if (node.op->cpu.backward == nullptr)
      throw Unsupported(fmt::format("layer '{}': operator '{}' cannot be differentiated", node.name,
                                    node.op->name));
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      back.inputs.push_back((node.op->needs_inputs >> i & 1u) != 0 ? node.inputs[i] : kNoValue);
    const std::uint32_t needed = needed_outputs(*node.op, node.attributes);
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      back.inputs.push_back((needed >> i & 1u) != 0 ? node.outputs[i] : kNoValue);
    back.inputs.insert(back.inputs.end(), dys.begin(), dys.end());
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      back.outputs.push_back(new_gradient(node, i, back));
    graph_.add_node(std::move(back));
  }

  ValueId new_gradient(const Node& node, std::size_t input, Node& back) {
    ValueId id = node.inputs[input];
    if (id == kNoValue || !differentiable(node, input) || !needs_gradient_[index(id)])
      return kNoValue;
    if (graph_.value(id).kind == ValueKind::kParameterCopy) id = graph_.value(id).parameter;
    const Value of = graph_.value(id);
    if (of.kind == ValueKind::kParameter) {
      if ((node.op->parameter_inputs >> std::min<std::size_t>(input, 31) & 1u) == 0)
        throw Unsupported(
            fmt::format("layer '{}': input {} of operator '{}' cannot be a parameter ('{}')",
                        node.name, input, node.op->name, of.name));
      ValueId& known = parameter_gradients_[index(id)];
      if (known == kNoValue)
        known = graph_.add_value({.name = "d" + of.name,
                                  .kind = ValueKind::kParameterGradient,
                                  .type = of.type,
                                  .parameter = id});
      else
        back.accumulate |= 1u << input;
      return known;
    }
    const ValueId dx = graph_.add_value({.name = "d" + of.name, .type = of.type});
    contributions_[index(id)].push_back(dx);
    return dx;
  }

  Graph graph_;
  std::string loss_;
  std::vector<bool> needs_gradient_;
  std::vector<std::vector<ValueId>> contributions_;  // of the forward graph's values
  std::vector<ValueId> parameter_gradients_;
};

}  // namespace

Graph differentiate(const Graph& graph, const std::string& loss) {
  return Differentiator(graph, loss).run();
}

}  // namespace phalanx
