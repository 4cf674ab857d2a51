// SPDX-License-Identifier: Apache-2.0
#include "graph/graph.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace phalanx {

ValueId Graph::add_value(Value value) {
  values_.push_back(std::move(value));
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::add_input(std::string name, const TensorType& type) {
  return add_value({.name = std::move(name), .kind = ValueKind::kInput, .type = type});
}

ValueId Graph::add_parameter(std::string name, const TensorType& type, Initializer init) {
  for (const Value& v : values_)
    if (v.kind == ValueKind::kParameter && v.name == name)
      throw InvalidArgument(fmt::format("two parameters are called '{}'", name));
  return add_value(
      {.name = std::move(name), .kind = ValueKind::kParameter, .type = type, .init = init});
}

ValueId Graph::add_state(std::string name, const TensorType& type, Initializer init) {
  return add_value(
      {.name = std::move(name), .kind = ValueKind::kState, .type = type, .init = init});
}

std::vector<ValueId> Graph::add(std::string_view op_name, const Attributes& attributes,
                                std::vector<ValueId> inputs, std::string name) {
  const OpSpec& op = find_operator(op_name);
  std::vector<TensorType> types;
  for (ValueId id : inputs) {
    types.push_back(id == kNoValue ? TensorType() : value(id).type);
    types.back().channel_block = 1;
  }
  std::vector<TensorType> out_types;
  try {
    out_types = op.infer(attributes, types);
  } catch (const InvalidArgument& e) {
    throw InvalidArgument(fmt::format("layer '{}': {}", name, e.what()));
  }
  Node node{
      .name = std::move(name), .op = &op, .attributes = attributes, .inputs = std::move(inputs)};
  for (std::size_t i = 0; i < out_types.size(); ++i)
    node.outputs.push_back(add_value(
        {.name = i == 0 ? node.name : fmt::format("{}.{}", node.name, i), .type = out_types[i]}));
  std::vector<ValueId> outputs = node.outputs;
  if (op.random) node.random_index = ++random_nodes_;
  add_node(std::move(node));
  return outputs;
}

NodeId Graph::add_node(Node node) {
  const auto id = static_cast<NodeId>(nodes_.size());
  for (ValueId out : node.outputs)
    if (out != kNoValue) value(out).producer = id;
  random_nodes_ = std::max(random_nodes_, node.random_index);
  nodes_.push_back(std::move(node));
  return id;
}

void Graph::set_output(std::string name, ValueId id) {
  for (auto& [existing, target] : outputs_) {
    if (existing == name) {
      target = id;
      return;
    }
  }
  outputs_.emplace_back(std::move(name), id);
}

void Graph::drop_output(std::string_view name) {
  std::erase_if(outputs_, [&](const auto& entry) { return entry.first == name; });
}

ValueId Graph::output(std::string_view name) const {
  for (const auto& [existing, id] : outputs_)
    if (existing == name) return id;
  throw InvalidArgument(fmt::format("the graph has no output '{}'", name));
}

ValueId Graph::input(std::string_view name) const {
  for (std::size_t i = 0; i < values_.size(); ++i)
    if (values_[i].kind == ValueKind::kInput && values_[i].name == name)
      return static_cast<ValueId>(i);
  throw InvalidArgument(fmt::format("the graph has no input '{}'", name));
}

std::int64_t Graph::parameter_count() const noexcept {
  std::int64_t count = 0;
  for (const Value& v : values_)
    if (v.kind == ValueKind::kParameter) count += v.type.shape.numel();
  return count;
}

std::uint64_t node_flops(const Graph& graph, const Node& node) {
  if (node.op->flops == nullptr) return 0;
  std::size_t operands = node.inputs.size();
  std::uint64_t times = 1;
  if (node.backward) {
    operands = node.outputs.size();  // a backward node has one output per forward input
    times = 0;
    for (ValueId dx : node.outputs)
      if (dx != kNoValue && graph.value(dx).type.shape.rank() >= 2) ++times;
  }
  std::vector<TensorType> types;
  for (std::size_t i = 0; i < operands; ++i) {
    // A backward node may not read an input whose gradient it computes; both have one type.
    ValueId id = node.inputs[i];
    if (id == kNoValue && node.backward) id = node.outputs[i];
    types.push_back(id == kNoValue ? TensorType() : graph.value(id).type);
  }
  return times * node.op->flops(node.attributes, types);
}

}  // namespace phalanx
