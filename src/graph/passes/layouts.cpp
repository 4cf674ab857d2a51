// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {
namespace {

struct Blocks {
  std::vector<std::int64_t> in, out;
};

bool is_image(const TensorType& type) { return type.shape.rank() == 4; }

/// LayoutRule::kSame: the format of the first image operand, if its block divides the channels of all of them.
Blocks same_blocks(std::span<const TensorType> in, std::span<const TensorType> out) {
  Blocks blocks{std::vector<std::int64_t>(in.size(), 1), std::vector<std::int64_t>(out.size(), 1)};
  std::int64_t block = 1;
  for (const TensorType& t : in) block = std::max(block, t.channel_block);
  const auto fits = [&](const TensorType& t) {
    return !is_image(t) || t.shape[1] == 1 || t.shape[1] % block == 0;
  };
  if (!std::all_of(in.begin(), in.end(), fits) || !std::all_of(out.begin(), out.end(), fits))
    return blocks;
  const auto assign = [&](std::span<const TensorType> types, std::vector<std::int64_t>& to) {
    for (std::size_t i = 0; i < types.size(); ++i)
      if (is_image(types[i]) && types[i].shape[1] != 1) to[i] = block;
  };
  assign(in, blocks.in);
  assign(out, blocks.out);
  return blocks;
}

Blocks wanted_blocks(const Node& node, const DeviceKernels& kernels, std::span<const TensorType> in,
                     std::span<const TensorType> out) {
  Blocks plain{std::vector<std::int64_t>(in.size(), 1), std::vector<std::int64_t>(out.size(), 1)};
  switch (node.op->layout) {
    case LayoutRule::kPlain: return plain;
    case LayoutRule::kSame: return same_blocks(in, out);
    case LayoutRule::kChosen:
      if (kernels.choose_layout != nullptr)
        kernels.choose_layout(node.attributes, in, out, plain.in, plain.out);
      return plain;
  }
  return plain;
}

}  // namespace

Graph choose_layouts(const Graph& graph, Device device) {
  GraphCopier copier(graph);
  Graph& to = copier.to();
  std::map<std::pair<ValueId, std::int64_t>, ValueId> reordered;
  const auto with_block = [&](ValueId id, std::int64_t block) {
    TensorType type = to.value(id).type;
    type.set_channel_block(block);
    if (type == to.value(id).type) return id;
    ValueId& known = reordered.try_emplace({id, block}, kNoValue).first->second;
    if (known == kNoValue) {
      known =
          to.add_one("reorder", {{"channel_block", block}}, {id}, to.value(id).name + ".reorder");
      to.value(known).type = type;
    }
    return known;
  };
  for (const Node& node : graph.nodes()) {
    std::vector<TensorType> in, out;
    for (ValueId id : node.inputs)
      in.push_back(id == kNoValue ? TensorType() : to.value(copier.mapped(id)).type);
    for (ValueId id : node.outputs) out.push_back(graph.value(id).type);
    const Blocks blocks = wanted_blocks(node, kernels_for(*node.op, device), in, out);
    Node fresh = node;
    for (std::size_t i = 0; i < in.size(); ++i)
      if (node.inputs[i] != kNoValue)
        fresh.inputs[i] = with_block(copier.mapped(node.inputs[i]), blocks.in[i]);
    for (std::size_t i = 0; i < out.size(); ++i) {
      Value v = graph.value(node.outputs[i]);
      v.producer = kNoNode;
      v.type.set_channel_block(blocks.out[i]);
      fresh.outputs[i] = to.add_value(std::move(v));
      copier.replace(node.outputs[i], fresh.outputs[i]);
    }
    to.add_node(std::move(fresh));
  }
  for (const auto& [name, id] : graph.outputs())
    copier.replace(id, with_block(copier.mapped(id), 1));  // callers see plain
  return copier.finish();
}

}  // namespace phalanx
