// SPDX-License-Identifier: Apache-2.0
#include "graph_testing.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace phalanx::graph_testing {
namespace {

/// Adds random layers to a graph. Values of one shape are interchangeable.
class Builder {
 public:
  Builder(std::uint64_t seed, std::int64_t rows) : engine_(seed), rows_(rows) {}

  Graph build() {
    std::vector<ValueId> images = {graph_.add_input("image", {DType::kF32, {rows_, 16, 5, 5}})};
    const ValueId label = graph_.add_input("label", {DType::kI64, {rows_}});
    for (int i = 0; i < 6; ++i) images.push_back(image_layer(images));
    std::vector<ValueId> rows = {
        graph_.add_one("flatten", {}, {images.back()}, next_name("flatten"))};
    rows[0] = dense(rows[0], 16 * 25, kWidth);
    for (int i = 0; i < 9; ++i) rows.push_back(row_layer(rows));
    const ValueId logits =
        dense(graph_.add_one("relu", {}, {rows.back()}, next_name("relu")), kWidth, kClasses);
    graph_.set_output("loss",
                      graph_.add("softmax_cross_entropy", {}, {logits, label}, "loss").front());
    graph_.set_output("logits", logits);
    graph_.set_output("some", pick(rows));
    return std::move(graph_);
  }

 private:
  static constexpr std::int64_t kWidth = 24;

  std::string next_name(const std::string& op) { return op + std::to_string(count_++); }
  ValueId pick(const std::vector<ValueId>& from) { return from[engine_() % from.size()]; }
  /// Mostly the newest: chains are where values share memory.
  ValueId pick_late(const std::vector<ValueId>& from) {
    return engine_() % 2 == 0 ? from.back() : pick(from);
  }

  ValueId parameter(const Shape& shape) {
    std::vector<ValueId>& known = parameters_[shape.str()];
    if (!known.empty() && engine_() % 3 == 0) return pick(known);
    known.push_back(graph_.add_parameter(
        next_name("parameter"), {DType::kF32, shape},
        {Initializer::Kind::kUniform, 1.0 / std::sqrt(static_cast<double>(shape[-1]))}));
    return known.back();
  }

  ValueId dense(ValueId x, std::int64_t from, std::int64_t to) {
    return graph_.add_one("gemm", {{"transB", std::int64_t{1}}},
                          {x, parameter({to, from}), parameter({to})}, next_name("dense"));
  }

  ValueId image_layer(const std::vector<ValueId>& images) {
    const ValueId x = pick_late(images);
    if (engine_() % 2 == 0) return graph_.add_one("relu", {}, {x}, next_name("relu"));
    return graph_.add_one("add", {}, {x, pick(images)}, next_name("add"));
  }

  ValueId row_layer(const std::vector<ValueId>& rows) {
    const ValueId x = pick_late(rows);
    switch (engine_() % 6) {
      case 0: return graph_.add_one("relu", {}, {x}, next_name("relu"));
      case 1: return graph_.add_one("flatten", {}, {x}, next_name("flatten"));
      case 2:
      case 3: return graph_.add_one("add", {}, {x, pick(rows)}, next_name("add"));
      default: return dense(x, kWidth, kWidth);
    }
  }

  std::mt19937_64 engine_;
  std::int64_t rows_;
  Graph graph_;
  std::map<std::string, std::vector<ValueId>> parameters_;
  int count_ = 0;
};

}  // namespace

NaiveExecutor::NaiveExecutor(const Graph& graph, ParameterSet& parameters, Stream& stream)
    : graph_(graph),
      stream_(stream),
      memory_(graph.values().size()),
      data_(graph.values().size(), nullptr) {
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    const Value& v = graph.values()[i];
    if (v.kind == ValueKind::kParameter) data_[i] = parameters.parameter(v.name).data;
    if (v.kind == ValueKind::kState) data_[i] = parameters.state(v.name).data;
    if (v.kind == ValueKind::kComputed || v.kind == ValueKind::kParameterGradient ||
        v.kind == ValueKind::kParameterCopy)
      allocate(static_cast<ValueId>(i));
  }
  for (const Node& node : graph.nodes()) share_updated_states(node);
}

void NaiveExecutor::allocate(ValueId id) {
  const auto i = static_cast<std::size_t>(id);
  memory_[i] = Tensor(graph_.value(id).type, stream_);
  data_[i] = memory_[i].view().data;
}

void NaiveExecutor::share_updated_states(const Node& node) {
  for (const AliasRule& rule : node.op->aliases)
    if (!node.backward && rule.kind == AliasKind::kUpdate)
      data_[static_cast<std::size_t>(node.outputs[static_cast<std::size_t>(rule.output)])] =
          data_[static_cast<std::size_t>(node.inputs[static_cast<std::size_t>(rule.input)])];
}

void NaiveExecutor::feed(const std::string& input, ConstTensorView data) {
  data_[static_cast<std::size_t>(graph_.input(input))] = const_cast<void*>(data.data);
}

void NaiveExecutor::run(const RandomState& random) {
  for (std::size_t i = 0; i < graph_.values().size(); ++i) {
    const Value& v = graph_.values()[i];
    if (v.kind == ValueKind::kParameterCopy)
      copy({data_[static_cast<std::size_t>(v.parameter)], graph_.value(v.parameter).type},
           {data_[i], v.type}, stream_);
  }
  for (const Node& node : graph_.nodes()) {
    std::vector<ConstTensorView> in;
    std::vector<TensorView> out;
    for (ValueId id : node.inputs)
      in.push_back(id == kNoValue ? ConstTensorView{}
                                  : ConstTensorView{data_[static_cast<std::size_t>(id)],
                                                    graph_.value(id).type});
    for (ValueId id : node.outputs)
      out.push_back(id == kNoValue
                        ? TensorView{}
                        : TensorView{data_[static_cast<std::size_t>(id)], graph_.value(id).type});
    RandomState state = random;
    state.node = node.random_index;
    if (node.backward)
      run_backward(*node.op, node.attributes, in, out, stream_, state, node.accumulate);
    else
      run_forward(*node.op, node.attributes, in, out, stream_, state);
  }
}

std::vector<float> NaiveExecutor::floats(ValueId id) const {
  const auto* data = static_cast<const float*>(data_[static_cast<std::size_t>(id)]);
  return {data, data + graph_.value(id).type.shape.numel()};
}

std::vector<float> NaiveExecutor::gradient(const std::string& parameter) const {
  for (std::size_t i = 0; i < graph_.values().size(); ++i) {
    const Value& v = graph_.values()[i];
    if (v.kind == ValueKind::kParameterGradient && graph_.value(v.parameter).name == parameter)
      return floats(static_cast<ValueId>(i));
  }
  return {};
}

Graph random_classifier(std::uint64_t seed, std::int64_t rows) {
  return Builder(seed, rows).build();
}

Batch::Batch(std::int64_t rows, std::uint64_t seed, Stream& stream)
    : image({DType::kF32, {rows, 16, 5, 5}}, stream),
      label({DType::kI64, {rows}}, stream),
      dloss({DType::kF32, {}}, stream) {
  std::mt19937_64 engine(seed);
  for (float& x : image.as<float>())
    x = static_cast<float>(static_cast<double>(engine() >> 40) * 0x1p-24 - 0.5);
  for (std::int64_t& l : label.as<std::int64_t>())
    l = static_cast<std::int64_t>(engine() % kClasses);
  dloss.as<float>()[0] = 1.0f;
}

Runner::Runner(const Graph& graph, std::uint64_t seed, Stream& stream, std::int64_t shards)
    : layout(graph),
      parameters(layout, stream),
      gradients({DType::kF32, {layout.parameter_elements()}}, stream),
      arena(stream),
      executor(Plan(graph, layout, Device{}, shards), parameters, gradients.view(), arena, stream) {
  parameters.initialise(seed);
  std::ranges::fill(gradients.as<float>(), std::numeric_limits<float>::quiet_NaN());
}

void Runner::feed(const Batch& batch) {
  executor.feed("image", batch.image.view());
  executor.feed("label", batch.label.view());
  for (const Value& v : executor.plan().graph().values())
    if (v.kind == ValueKind::kInput && v.name == "dloss")
      executor.feed("dloss", batch.dloss.view());
}

std::vector<float> Runner::output(const std::string& name) const {
  const ConstTensorView view = executor.output(name);
  return {view.as<float>(), view.as<float>() + view.numel()};
}

std::vector<float> Runner::gradient(const std::string& parameter) const {
  const ParameterSlot& slot = layout.parameter(parameter);
  const float* data = gradients.as<float>().data() + slot.offset;
  return {data, data + slot.shape.numel()};
}

}  // namespace phalanx::graph_testing
