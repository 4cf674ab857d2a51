// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "op/op.hpp"

namespace phalanx {

using ValueId = std::int32_t;
using NodeId = std::int32_t;
inline constexpr ValueId kNoValue = -1;
inline constexpr NodeId kNoNode = -1;

enum class ValueKind : std::uint8_t {
  kInput,              ///< fed on every run
  kParameter,          ///< trained
  kState,              ///< kept between runs, not trained (running statistics)
  kParameterCopy,      ///< of a parameter in bf16; ParameterSet keeps it up to date
  kParameterGradient,  ///< lies in the gradient arena, at the place of its parameter
  kComputed,
};

/// How a parameter or state starts. Draws are counter-based: (seed, name, element).
struct Initializer {
  enum class Kind : std::uint8_t { kConstant, kUniform, kNormal };
  Kind kind = Kind::kConstant;
  double value =
      0;  ///< the constant; the bound of U(-value, value); the standard deviation of N(0, value^2)
};

/// What flows along an edge.
struct Value {
  std::string name;
  ValueKind kind = ValueKind::kComputed;
  TensorType type;
  NodeId producer = kNoNode;
  Initializer init;              ///< of a parameter or state
  ValueId parameter = kNoValue;  ///< that this is the copy or the gradient of
};

/// One use of an operator, forward or backward. Operands as in Kernel; kNoValue where one is absent.
struct Node {
  std::string name;
  const OpSpec* op = nullptr;
  bool backward = false;
  Attributes attributes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::uint32_t random_index = 0;  ///< RandomState::node
  std::uint32_t accumulate = 0;    ///< outputs that add to what an earlier node wrote
};

/// A model or a training step: nodes in an order in which they can run. Shapes are concrete. A pass takes a graph and
/// gives another; nothing is shared between graphs, so they are plain values.
class Graph {
 public:
  ValueId add_input(std::string name, const TensorType& type);
  ValueId add_parameter(std::string name, const TensorType& type, Initializer init);
  ValueId add_state(std::string name, const TensorType& type, Initializer init);

  /// Adds a forward node; infers and returns its outputs, saved ones included.
  /// Throws    InvalidArgument "layer 'NAME': ..." if the operator refuses attributes or types.
  std::vector<ValueId> add(std::string_view op, const Attributes& attributes,
                           std::vector<ValueId> inputs, std::string name);
  /// The same for an operator of which only the first output matters.
  ValueId add_one(std::string_view op, const Attributes& attributes, std::vector<ValueId> inputs,
                  std::string name) {
    return add(op, attributes, std::move(inputs), std::move(name)).front();
  }

  /// For passes: takes values and nodes as they are.
  ValueId add_value(Value value);
  NodeId add_node(Node node);

  /// Names a value that must survive the run. Setting a name again moves it.
  void set_output(std::string name, ValueId value);
  void drop_output(std::string_view name);  ///< does nothing if there is none
  /// Throws    InvalidArgument if there is no output of this name.
  ValueId output(std::string_view name) const;
  ValueId input(std::string_view name) const;  ///< throws likewise

  const Value& value(ValueId id) const { return values_.at(static_cast<std::size_t>(id)); }
  Value& value(ValueId id) { return values_.at(static_cast<std::size_t>(id)); }
  const std::vector<Value>& values() const noexcept { return values_; }
  const std::vector<Node>& nodes() const noexcept { return nodes_; }
  const std::vector<std::pair<std::string, ValueId>>& outputs() const noexcept { return outputs_; }

  /// Elements of all parameters.
  std::int64_t parameter_count() const noexcept;

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<std::pair<std::string, ValueId>> outputs_;
  std::uint32_t random_nodes_ = 0;
};

/// Floating point operations of one node, by its operator's formula: a backward node counts the forward pass once for
/// every gradient of an operand of rank 2 or more that it computes.
std::uint64_t node_flops(const Graph& graph, const Node& node);

}  // namespace phalanx
