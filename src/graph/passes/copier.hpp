// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "graph/graph.hpp"

namespace phalanx {

/// The frame of a pass: walks the nodes of one graph and builds another, keeping track of which value became which.
class GraphCopier {
 public:
  explicit GraphCopier(const Graph& from) : from_(from), map_(from.values().size(), kNoValue) {
    for (std::size_t i = 0; i < from.values().size(); ++i) {
      const Value& v = from.values()[i];
      if (v.kind != ValueKind::kComputed) map_[i] = to_.add_value(v);
    }
  }

  Graph& to() noexcept { return to_; }
  ValueId mapped(ValueId old) const {
    return old == kNoValue ? kNoValue : map_.at(static_cast<std::size_t>(old));
  }
  void replace(ValueId old, ValueId by) { map_.at(static_cast<std::size_t>(old)) = by; }

  /// Copies a node with mapped inputs and fresh outputs of the same types. Returns the new node's outputs.
  std::vector<ValueId> copy(const Node& node) {
    Node fresh = node;
    for (ValueId& in : fresh.inputs) in = mapped(in);
    for (ValueId& out : fresh.outputs) {
      if (out == kNoValue) continue;
      if (from_.value(out).kind == ValueKind::kComputed) {
        Value v = from_.value(out);
        v.producer = kNoNode;
        replace(out, to_.add_value(std::move(v)));
      }
      out = mapped(out);
    }
    std::vector<ValueId> outputs = fresh.outputs;
    to_.add_node(std::move(fresh));
    return outputs;
  }

  /// Carries the outputs over and gives the result away.
  Graph finish() {
    for (const auto& [name, id] : from_.outputs()) to_.set_output(name, mapped(id));
    for (std::size_t i = 0; i < from_.values().size(); ++i)
      if (from_.values()[i].parameter != kNoValue)
        to_.value(map_[i]).parameter = mapped(from_.values()[i].parameter);
    return std::move(to_);
  }

 private:
  const Graph& from_;
  Graph to_;
  std::vector<ValueId> map_;
};

}  // namespace phalanx
