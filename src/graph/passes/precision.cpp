// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {
Graph lower_precision(const Graph& graph) {
  GraphCopier copier(graph);
  Graph& to = copier.to();
  std::map<ValueId, ValueId> casts;  // a value is cast once, for all its uses
  const auto as = [&](ValueId id, DType dtype) {
    const Value& v = to.value(id);
    const bool is_activation = v.kind == ValueKind::kComputed || v.kind == ValueKind::kInput;
    if (!is_activation || !is_float(v.type.dtype) || v.type.dtype == dtype) return id;
    const auto [found, fresh] = casts.try_emplace(id, kNoValue);
    if (!fresh) return found->second;
    return found->second = to.add_one("cast", {{"to", std::string(name(dtype))}}, {id},
                                      v.name + "." + std::string(name(dtype)));
  };
  std::map<ValueId, ValueId> copies;
  const auto copy_of = [&](ValueId parameter) {
    const auto [found, fresh] = copies.try_emplace(parameter, kNoValue);
    if (fresh) {
      Value v = to.value(parameter);
      v.name += ".bf16";
      v.kind = ValueKind::kParameterCopy;
      v.type.dtype = DType::kBf16;
      v.parameter = parameter;
      found->second = to.add_value(std::move(v));
    }
    return found->second;
  };
  for (const Node& node : graph.nodes()) {
    Node fresh = node;
    const DType dtype = node.op->f32_only ? DType::kF32 : DType::kBf16;
    std::vector<TensorType> types;
    for (std::size_t i = 0; i < fresh.inputs.size(); ++i) {
      ValueId& in = fresh.inputs[i];
      if (in != kNoValue) in = as(copier.mapped(in), dtype);
      if (in != kNoValue && to.value(in).kind == ValueKind::kParameter && dtype != DType::kF32 &&
          (node.op->low_precision_weights >> std::min<std::size_t>(i, 31) & 1u) != 0)
        in = copy_of(in);
      types.push_back(in == kNoValue ? TensorType() : to.value(in).type);
    }
    const std::vector<TensorType> out_types = node.op->infer(node.attributes, types);
    for (std::size_t i = 0; i < fresh.outputs.size(); ++i) {
      Value v = graph.value(node.outputs[i]);
      v.producer = kNoNode;
      v.type = out_types[i];
      fresh.outputs[i] = to.add_value(std::move(v));
      copier.replace(node.outputs[i], fresh.outputs[i]);
    }
    to.add_node(std::move(fresh));
  }
  for (const auto& [name, id] : graph.outputs())
    copier.replace(id, as(copier.mapped(id), DType::kF32));  // callers see f32
  return copier.finish();
}

}  // namespace phalanx
