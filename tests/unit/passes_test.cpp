// SPDX-License-Identifier: Apache-2.0
#include "graph/passes/passes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include <memory>

#include "graph_testing.hpp"

namespace phalanx {
namespace {

using graph_testing::Batch;
using graph_testing::Runner;

Attributes window(std::int64_t size, std::int64_t pad) {
  return {{"kernel_shape", Ints{size, size}},
          {"strides", Ints{size, size}},
          {"pads", Ints{pad, pad, pad, pad}}};
}

/// conv - relu - max_pool - flatten - dense, and the loss summed over the rows.
Graph pooled_classifier(std::int64_t rows, bool relu_has_two_readers) {
  Graph graph;
  const ValueId image = graph.add_input("image", {DType::kF32, Shape{rows, 16, 5, 5}});
  const ValueId label = graph.add_input("label", {DType::kI64, Shape{rows}});
  const auto parameter = [&](const std::string& name, const Shape& shape) {
    return graph.add_parameter(name, {DType::kF32, shape}, {Initializer::Kind::kUniform, 0.2});
  };
  const ValueId conv =
      graph.add_one("conv", {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}},
                    {image, parameter("c", Shape{8, 16, 3, 3})}, "conv");
  const ValueId relu = graph.add_one("relu", {}, {conv}, "relu");
  ValueId pool = graph.add_one("max_pool", window(2, 1), {relu}, "pool");
  if (relu_has_two_readers)
    pool = graph.add_one("add", {},
                         {pool, graph.add_one("max_pool", window(2, 1), {relu}, "pool2")}, "sum");
  const ValueId flat = graph.add_one("flatten", {}, {pool}, "flat");
  const ValueId logits = graph.add_one("gemm", {{"transB", std::int64_t{1}}},
                                       {flat, parameter("w", Shape{5, 72})}, "fc");
  graph.set_output("logits", logits);
  graph.set_output("loss", graph.add_one("softmax_cross_entropy", {}, {logits, label}, "loss"));
  return graph;
}

std::vector<std::string> operators(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) names.emplace_back(node.op->name);
  return names;
}

TEST(PoolBeforeRelu, ChangesNeitherValuesNorGradients) {
  Stream stream{Device{}};
  const Graph before = pooled_classifier(6, false);
  const Graph after = pool_before_relu(before);
  EXPECT_EQ(operators(after), (std::vector<std::string>{"conv", "max_pool", "relu", "flatten",
                                                        "gemm", "softmax_cross_entropy"}));
  const Batch batch(6, 4, stream);
  const auto run = [&](const Graph& graph) {
    auto runner =
        std::make_unique<Runner>(differentiate(choose_layouts(graph, Device{}), "loss"), 3, stream);
    runner->feed(batch);
    runner->executor.run({});
    return runner;
  };
  const auto one = run(before), other = run(after);
  EXPECT_EQ(one->output("logits"), other->output("logits"));
  for (const char* name : {"c", "w"}) {
    EXPECT_EQ(one->gradient(name), other->gradient(name)) << name;
    EXPECT_TRUE(std::ranges::any_of(one->gradient(name), [](float g) { return g != 0; })) << name;
  }
}

TEST(PoolBeforeRelu, LeavesAReluAloneThatOthersReadToo) {
  const Graph before = pooled_classifier(2, true);
  EXPECT_EQ(operators(pool_before_relu(before)), operators(before));
}

/// Two dense layers with a relu between them, the loss summed over the rows.
Graph two_layers(std::int64_t rows, bool relu_is_an_output, bool product_is_an_output) {
  Graph graph;
  const ValueId image = graph.add_input("image", {DType::kF32, Shape{rows, 16, 5, 5}});
  const ValueId label = graph.add_input("label", {DType::kI64, Shape{rows}});
  const auto parameter = [&](const std::string& name, const Shape& shape) {
    return graph.add_parameter(name, {DType::kF32, shape}, {Initializer::Kind::kUniform, 0.2});
  };
  const Attributes dense{{"transB", std::int64_t{1}}};
  const ValueId flat = graph.add_one("flatten", {}, {image}, "flat");
  const ValueId hidden = graph.add_one(
      "gemm", dense, {flat, parameter("w1", Shape{24, 400}), parameter("b1", Shape{24})}, "fc1");
  const ValueId relu = graph.add_one("relu", {}, {hidden}, "relu");
  const ValueId logits = graph.add_one("gemm", dense, {relu, parameter("w2", Shape{5, 24})}, "fc2");
  if (relu_is_an_output) graph.set_output("relu", relu);
  if (product_is_an_output) graph.set_output("hidden", hidden);
  graph.set_output("logits", logits);
  graph.set_output("loss", graph.add_one("softmax_cross_entropy", {}, {logits, label}, "loss"));
  return graph;
}

TEST(FuseActivation, ChangesNeitherValuesNorGradients) {
  Stream stream{Device{}};
  const Batch batch(6, 4, stream);
  for (const std::int64_t shards : {0, 2}) {
    SCOPED_TRACE(shards);
    const Graph before = two_layers(shards == 0 ? 6 : 3, true, false);
    const Graph after = fuse_activation(before);
    EXPECT_EQ(operators(after),
              (std::vector<std::string>{"flatten", "gemm", "gemm", "softmax_cross_entropy"}));
    EXPECT_EQ(after.nodes()[1].attributes.get_string("activation", ""), "relu");
    EXPECT_EQ(after.nodes()[2].attributes.get_string("activation", ""), "");
    const auto run = [&](const Graph& graph) {
      auto runner = std::make_unique<Runner>(differentiate(graph, "loss"), 3, stream, shards);
      runner->feed(batch);
      runner->executor.run({});
      return runner;
    };
    const auto one = run(before), other = run(after);
    EXPECT_EQ(one->output("relu"), other->output("relu"));
    EXPECT_EQ(one->output("logits"), other->output("logits"));
    for (const char* name : {"w1", "b1", "w2"}) {
      EXPECT_EQ(one->gradient(name), other->gradient(name)) << name;
      EXPECT_TRUE(std::ranges::any_of(one->gradient(name), [](float g) { return g != 0; })) << name;
    }
  }
}

TEST(FuseActivation, JoinsAReluToTheConvolutionBeforeIt) {
  Graph before;
  const ValueId x = before.add_input("x", {DType::kF32, Shape{2, 1, 4, 4}});
  const ValueId w = before.add_parameter("w", {DType::kF32, Shape{8, 1, 3, 3}}, {});
  const ValueId y = before.add_one("conv", {{"pads", Ints{1, 1, 1, 1}}}, {x, w}, "y");
  before.set_output("relu", before.add_one("relu", {}, {y}, "relu"));
  const Graph after = fuse_activation(before);
  EXPECT_EQ(operators(before), (std::vector<std::string>{"conv", "relu"}));
  EXPECT_EQ(operators(after), (std::vector<std::string>{"conv"}));
  EXPECT_EQ(after.nodes()[0].attributes.get_string("activation", ""), "relu");
}

TEST(FuseActivation, LeavesAProductAloneThatOthersReadToo) {
  const Graph before = two_layers(2, false, true);
  EXPECT_EQ(operators(fuse_activation(before)), operators(before));
}

TEST(FuseActivation, OnlyNodesWithAnActivationKeepTheirOutputForTheGradient) {
  const Graph graph = differentiate(fuse_activation(two_layers(2, false, false)), "loss");
  for (const Node& node : graph.nodes()) {
    if (node.op->name != "gemm" || !node.backward) continue;
    const ValueId y = node.inputs[node.inputs.size() - 2];
    EXPECT_EQ(y != kNoValue, node.attributes.has("activation")) << node.name;
  }
}

TEST(SplitColumns, SumsBeforeTheActivation) {
  Graph graph;
  const ValueId x = graph.add_input("x", {DType::kF32, Shape{3, 8}});
  const ValueId w = graph.add_parameter("w", {DType::kF32, Shape{4, 8}}, {});
  graph.set_output(
      "y", graph.add_one("gemm", {{"transB", std::int64_t{1}}, {"activation", std::string("relu")}},
                         {x, w}, "fc"));
  const Graph part = split_columns(graph, 2, 5).graph;
  EXPECT_EQ(operators(part), (std::vector<std::string>{"gemm", "all_reduce", "relu"}));
  EXPECT_EQ(part.nodes()[0].attributes.get_string("activation", ""), "");
}

// --- loss and gradient in one

std::size_t count_nodes(const Graph& graph, std::string_view op) {
  return static_cast<std::size_t>(std::ranges::count(operators(graph), op));
}

/// Rows whose first largest logit is the label's.
float count_right(const std::vector<float>& logits, std::span<const std::int64_t> labels) {
  const std::size_t classes = logits.size() / labels.size();
  float right = 0;
  for (std::size_t n = 0; n < labels.size(); ++n) {
    std::size_t best = 0;
    for (std::size_t c = 1; c < classes; ++c)
      if (logits[n * classes + c] > logits[n * classes + best]) best = c;
    if (static_cast<std::int64_t>(best) == labels[n]) ++right;
  }
  return right;
}

TEST(FuseLossGradient, ChangesNeitherTheLossNorGradientsAndCountsWhatIsRight) {
  Stream stream{Device{}};
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const Graph apart = differentiate(graph_testing::random_classifier(seed, 9), "loss");
    const Graph fused = fuse_loss_gradient(apart);
    EXPECT_EQ(fused.nodes().size() + 1, apart.nodes().size());
    EXPECT_EQ(count_nodes(fused, "softmax_cross_entropy"), 0u);
    EXPECT_EQ(count_nodes(fused, "softmax_cross_entropy_step"), 1u);
    const Batch batch(9, seed, stream);
    Runner one(apart, 3, stream), other(fused, 3, stream);
    for (Runner* runner : {&one, &other}) {
      runner->feed(batch);
      runner->executor.run({});
    }
    for (const char* name : {"loss", "logits", "some"})
      EXPECT_EQ(one.output(name), other.output(name)) << name;
    int compared = 0;
    for (const ParameterSlot& slot : one.layout.parameters()) {
      const std::vector<float> expected = one.gradient(slot.name);
      if (std::isnan(expected[0])) continue;  // has no influence on the loss: nobody wrote there
      EXPECT_EQ(expected, other.gradient(slot.name)) << slot.name;
      ++compared;
    }
    EXPECT_GE(compared, 4);
    EXPECT_EQ(other.output("correct"), std::vector<float>{count_right(
                                           one.output("logits"), batch.label.as<std::int64_t>())});
  }
}

TEST(FuseLossGradient, KeepsTheLossAndGradientsOfShards) {
  constexpr std::int64_t kRows = 3, kShards = 2;
  Stream stream{Device{}};
  const Graph apart = differentiate(pooled_classifier(kRows, false), "loss");
  const Graph fused = fuse_loss_gradient(apart);
  const ParameterLayout layout(apart);
  ParameterSet parameters(layout, stream);
  parameters.initialise(3);
  const Batch batch(kRows * kShards, 5, stream);
  const auto run = [&](const Graph& graph, Tensor& gradients, Workspace& arena) {
    auto executor = std::make_unique<Executor>(Plan(graph, layout, Device{}, kShards), parameters,
                                               gradients.view(), arena, stream);
    executor->feed("image", batch.image.view());
    executor->feed("label", batch.label.view());
    executor->feed("dloss", batch.dloss.view());
    executor->run({});
    return executor;
  };
  const TensorType all(DType::kF32, Shape{layout.parameter_elements()});
  Tensor expected(all, stream), found(all, stream);
  Workspace one_arena(stream), other_arena(stream);
  const auto one = run(apart, expected, one_arena), other = run(fused, found, other_arena);
  for (const ParameterSlot& slot : layout.parameters()) {
    const auto part = [&](const Tensor& gradients) {
      return gradients.as<float>().subspan(static_cast<std::size_t>(slot.offset),
                                           static_cast<std::size_t>(slot.shape.numel()));
    };
    EXPECT_TRUE(std::ranges::equal(part(expected), part(found))) << slot.name;
  }
  for (std::int64_t shard = 0; shard < kShards; ++shard) {
    EXPECT_EQ(*one->output("loss", shard).as<float>(), *other->output("loss", shard).as<float>());
    const float* logits = one->output("logits", shard).as<float>();
    const std::vector<float> values(logits, logits + one->output("logits", shard).numel());
    EXPECT_EQ(*other->output("correct", shard).as<float>(),
              count_right(values, batch.label.as<std::int64_t>().subspan(
                                      static_cast<std::size_t>(shard * kRows), kRows)));
  }
}

TEST(FuseLossGradient, StandsWhereTheLossStood) {
  const Graph fused = fuse_loss_gradient(differentiate(pooled_classifier(4, false), "loss"));
  const std::vector<std::string> names = operators(fused);
  EXPECT_EQ(std::ranges::find(names, "softmax_cross_entropy_step") - names.begin(), 5);
  EXPECT_EQ(fused.nodes()[5].name, "loss");
  EXPECT_EQ(fused.value(fused.nodes()[5].outputs[2]).name, "dfc");
  EXPECT_EQ(fused.output("loss"), fused.nodes()[5].outputs[0]);
  EXPECT_EQ(fused.output("correct"), fused.nodes()[5].outputs[1]);
}

TEST(FuseLossGradient, KeepsTheReduction) {
  Graph graph;
  const ValueId x = graph.add_input("x", {DType::kF32, Shape{6, 3}});
  const ValueId label = graph.add_input("label", {DType::kI64, Shape{6}});
  const ValueId w = graph.add_parameter("w", {DType::kF32, Shape{3, 3}}, {});
  const ValueId logits = graph.add_one("gemm", {}, {x, w}, "fc");
  const Attributes mean{{"reduction", std::string("mean")}};
  graph.set_output("loss", graph.add_one("softmax_cross_entropy", mean, {logits, label}, "loss"));
  const Graph fused = fuse_loss_gradient(differentiate(graph, "loss"));
  EXPECT_EQ(fused.nodes()[1].op->name, "softmax_cross_entropy_step");
  EXPECT_EQ(fused.nodes()[1].attributes, mean);
}

TEST(FuseLossGradient, LeavesAlonePlansThatOnlyEvaluate) {
  const Graph graph = pooled_classifier(2, false);
  EXPECT_EQ(operators(fuse_loss_gradient(graph)), operators(graph));
}

TEST(FuseLossGradient, LeavesALossAloneWhoseSeedIsComputed) {
  Graph graph = pooled_classifier(2, false);
  const ValueId half = graph.add_input("half", {DType::kF32, Shape{}});
  graph.set_output("loss", graph.add_one("mul", {}, {graph.output("loss"), half}, "scaled"));
  const Graph apart = differentiate(graph, "loss");
  EXPECT_EQ(operators(fuse_loss_gradient(apart)), operators(apart));
}

TEST(FuseLossGradient, LeavesALossAloneOfWhichSomethingElseReadsWhatItSaves) {
  Graph graph = pooled_classifier(2, false);
  const auto loss = std::ranges::find(graph.nodes(), "loss", &Node::name);
  graph.set_output("log_sum", loss->outputs[1]);
  const Graph apart = differentiate(graph, "loss");
  EXPECT_EQ(operators(fuse_loss_gradient(apart)), operators(apart));
}

TEST(FuseLossGradient, LeavesOtherLossesAlone) {
  Graph graph;
  const ValueId x = graph.add_input("x", {DType::kF32, Shape{6, 3}});
  const ValueId target = graph.add_input("target", {DType::kF32, Shape{6, 3}});
  const ValueId w = graph.add_parameter("w", {DType::kF32, Shape{3, 3}}, {});
  const ValueId y = graph.add_one("gemm", {}, {x, w}, "fc");
  graph.set_output("loss", graph.add_one("mean_squared_error", {}, {y, target}, "loss"));
  const Graph apart = differentiate(graph, "loss");
  EXPECT_EQ(operators(fuse_loss_gradient(apart)), operators(apart));
}

struct Layer {
  std::string op;
  Attributes attributes = {};
};

/// A dense layer, the operators in `layers` one behind the other, another dense layer and a loss over the rows.
Graph activated_classifier(const std::vector<Layer>& layers) {
  constexpr std::int64_t kRows = 6, kWidth = 24;
  Graph graph;
  const ValueId image = graph.add_input("image", {DType::kF32, Shape{kRows, 16, 5, 5}});
  const ValueId label = graph.add_input("label", {DType::kI64, Shape{kRows}});
  const auto dense = [&](ValueId x, const std::string& name, std::int64_t to, std::int64_t from) {
    const ValueId w = graph.add_parameter(name, {DType::kF32, Shape{to, from}},
                                          {Initializer::Kind::kUniform, 0.2});
    return graph.add_one("gemm", {{"transB", std::int64_t{1}}}, {x, w}, "dense " + name);
  };
  ValueId x = dense(graph.add_one("flatten", {}, {image}, "flat"), "c", kWidth, 400);
  for (std::size_t i = 0; i < layers.size(); ++i)
    x = graph.add_one(layers[i].op, layers[i].attributes, {x}, "layer" + std::to_string(i));
  const ValueId logits = dense(x, "w", graph_testing::kClasses, kWidth);
  graph.set_output("logits", logits);
  graph.set_output("loss", graph.add_one("softmax_cross_entropy", {}, {logits, label}, "loss"));
  return graph;
}

const std::vector<Layer> kAllUnary = {{"elu", {{"alpha", 0.123456789012345678}}},
                                      {"tanh"},
                                      {"leaky_relu", {{"alpha", 0.3}}},
                                      {"gelu"},
                                      {"sigmoid"},
                                      {"gelu", {{"approximate", std::string("tanh")}}},
                                      {"softplus"},
                                      {"leaky_relu"},
                                      {"relu"},
                                      {"elu"}};

/// The lists of all chains of a graph.
std::vector<std::string> chains(const Graph& graph) {
  std::vector<std::string> lists;
  for (const Node& node : graph.nodes())
    if (node.op->name == "unary_chain") lists.emplace_back(node.attributes.get_string("ops", ""));
  return lists;
}

TEST(FuseUnaryChains, JoinsUpToEightWithTheirAttributes) {
  const Graph after = fuse_unary_chains(activated_classifier(kAllUnary));
  EXPECT_EQ(operators(after),
            (std::vector<std::string>{"flatten", "gemm", "unary_chain", "unary_chain", "gemm",
                                      "softmax_cross_entropy"}));
  EXPECT_EQ(chains(after),
            (std::vector<std::string>{"elu(0.12345678901234568),tanh,leaky_relu(0.3),gelu,sigmoid,"
                                      "gelu(tanh),softplus,leaky_relu(0.01)",
                                      "relu,elu(1)"}));
  EXPECT_EQ(after.nodes()[3].name, "layer8+layer9");
}

TEST(FuseUnaryChains, ChangesNeitherValuesNorGradients) {
  Stream stream{Device{}};
  const Batch batch(6, 4, stream);
  for (std::size_t count : {2u, 8u, 9u, 10u}) {
    SCOPED_TRACE(count);
    const Graph before = activated_classifier({kAllUnary.end() - count, kAllUnary.end()});
    const Graph after = fuse_unary_chains(before);
    EXPECT_EQ(after.nodes().size(), before.nodes().size() - count + (count + 7) / 8);
    const auto run = [&](const Graph& graph) {
      auto runner = std::make_unique<Runner>(differentiate(graph, "loss"), 3, stream);
      runner->feed(batch);
      runner->executor.run({});
      return runner;
    };
    const auto one = run(before), other = run(after);
    EXPECT_EQ(one->output("logits"), other->output("logits"));
    for (const char* name : {"c", "w"}) {
      EXPECT_EQ(one->gradient(name), other->gradient(name)) << name;
      EXPECT_TRUE(std::ranges::any_of(one->gradient(name), [](float g) { return g != 0; })) << name;
    }
  }
}

TEST(FuseUnaryChains, LeavesValuesThatOthersReadToo) {
  Graph graph;
  const ValueId x = graph.add_input("x", {DType::kF32, Shape{3, 4}});
  const auto add = [&](std::string_view op, ValueId in) {
    return graph.add_one(op, {}, {in}, std::string(op));
  };
  const ValueId a = add("tanh", x), b = add("relu", a);            // a is an output
  const ValueId c = add("sigmoid", b), d = add("softplus", c);     // c has two readers
  const ValueId e = add("identity", add("relu", add("tanh", c)));  // of which one begins a chain
  graph.set_output("a", a);
  graph.set_output("sum", graph.add_one("add", {}, {d, e}, "sum"));
  EXPECT_EQ(chains(fuse_unary_chains(graph)),
            (std::vector<std::string>{"relu,sigmoid", "tanh,relu"}));
}

TEST(FuseUnaryChains, GoesWithMemoryFormatsAndBf16) {
  Graph graph;
  const TensorType type{DType::kBf16, Shape{3, 16, 2, 2}, 8};
  const ValueId x = graph.add_input("x", type), a = graph.add_one("relu", {}, {x}, "a"),
                y = graph.add_one("tanh", {}, {a}, "b");
  graph.value(a).type = graph.value(y).type = type;  // as choose_layouts does
  graph.set_output("y", y);
  const Graph after = fuse_unary_chains(graph);
  EXPECT_EQ(chains(after), std::vector<std::string>{"relu,tanh"});
  EXPECT_EQ(after.value(after.output("y")).type, type);
}

}  // namespace
}  // namespace phalanx
