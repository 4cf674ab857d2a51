// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "graph/passes/passes.hpp"
#include "graph_testing.hpp"

namespace phalanx {
namespace {

using graph_testing::Batch;
using graph_testing::Runner;

/// Convolutions with a shortcut, a pool, and a dense layer behind a flatten: formats change on the
/// way.
Graph convolutional_classifier(std::int64_t rows) {
  Graph graph;
  const ValueId image = graph.add_input("image", {DType::kF32, {rows, 16, 5, 5}});
  const ValueId label = graph.add_input("label", {DType::kI64, {rows}});
  const auto parameter = [&](const std::string& name, const Shape& shape) {
    return graph.add_parameter(name, {DType::kF32, shape}, {Initializer::Kind::kUniform, 0.15});
  };
  const auto conv = [&](ValueId x, std::int64_t from, std::int64_t to, const std::string& name) {
    const Attributes attributes = {{"pads", Ints{1, 1, 1, 1}}, {"kernel_shape", Ints{3, 3}}};
    return graph.add_one(
        "conv", attributes,
        {x, parameter(name + ".w", {to, from, 3, 3}), parameter(name + ".b", {to})}, name);
  };
  const ValueId a = graph.add_one("relu", {}, {conv(image, 16, 32, "conv1")}, "relu1");
  const ValueId b = graph.add_one("relu", {}, {conv(a, 32, 32, "conv2")}, "relu2");
  const ValueId sum = graph.add_one("add", {}, {a, b}, "shortcut");
  const ValueId pooled =
      graph.add("max_pool", {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}}, {sum}, "pool")
          .front();
  const ValueId flat = graph.add_one("flatten", {}, {pooled}, "flatten");
  const ValueId logits =
      graph.add_one("gemm", {{"transB", std::int64_t{1}}},
                    {flat, parameter("fc.w", {5, 32 * 2 * 2}), parameter("fc.b", {5})}, "fc");
  graph.set_output("loss", graph.add("softmax_cross_entropy", {}, {logits, label}, "loss").front());
  graph.set_output("features", sum);
  return graph;
}

void expect_near(const std::vector<float>& expected, const std::vector<float>& found,
                 const std::string& what) {
  ASSERT_EQ(expected.size(), found.size()) << what;
  float scale = 1;
  for (float v : expected) scale = std::max(scale, std::abs(v));
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(expected[i], found[i], 1e-5f * scale) << what << " element " << i;
}

TEST(ChooseLayouts, LeavesOutputsPlain) {
  const Graph graph = choose_layouts(convolutional_classifier(2), Device{});
  for (const auto& [name, id] : graph.outputs())
    EXPECT_EQ(graph.value(id).type.channel_block, 1) << name;
  for (const Value& v : graph.values())
    EXPECT_TRUE(v.kind == ValueKind::kComputed || v.type.channel_block == 1) << v.name;
}

TEST(ChooseLayouts, ReordersOnlyWhereProducerAndConsumerDiffer) {
  const Graph plain = convolutional_classifier(2), graph = choose_layouts(plain, Device{});
  const auto is_reorder = [](const Node& node) { return node.op->name == "reorder"; };
  const auto reorders = std::ranges::count_if(graph.nodes(), is_reorder);
  EXPECT_EQ(graph.nodes().size(), plain.nodes().size() + static_cast<std::size_t>(reorders));
  EXPECT_LE(reorders, 3) << "at the entry, before the flatten and for the output";
  for (const Node& node : graph.nodes())
    EXPECT_FALSE(is_reorder(node) &&
                 graph.value(node.inputs[0]).type == graph.value(node.outputs[0]).type)
        << node.name;
}

TEST(ChooseLayouts, ChangesNeitherOutputsNorGradients) {
  Stream stream{Device{}};
  const Graph graph = convolutional_classifier(3);
  Runner plain(differentiate(graph, "loss"), 6, stream);
  Runner chosen(differentiate(choose_layouts(graph, Device{}), "loss"), 6, stream);
  const Batch batch(3, 1, stream);
  for (Runner* runner : {&plain, &chosen}) {
    runner->feed(batch);
    runner->executor.run({});
  }
  expect_near(plain.output("loss"), chosen.output("loss"), "loss");
  expect_near(plain.output("features"), chosen.output("features"), "features");
  for (const ParameterSlot& slot : plain.layout.parameters())
    expect_near(plain.gradient(slot.name), chosen.gradient(slot.name), "gradient of " + slot.name);
}

}  // namespace
}  // namespace phalanx
