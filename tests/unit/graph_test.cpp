// SPDX-License-Identifier: Apache-2.0
#include "graph/graph.hpp"

#include <fmt/format.h>

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "graph/passes/passes.hpp"
#include "graph_testing.hpp"

namespace phalanx {
namespace {

using graph_testing::Batch;
using graph_testing::NaiveExecutor;
using graph_testing::Runner;

const Attributes kTransposed = {{"transB", std::int64_t{1}}};

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }

template <class E>
std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(Graph, NamesTheLayerWhoseShapesDoNotFit) {
  Graph graph;
  const ValueId x = graph.add_input("x", f32({4, 3})),
                w = graph.add_parameter("w", f32({5, 7}), {});
  const std::string text = message_of<InvalidArgument>([&] {
    graph.add("gemm", kTransposed, {x, w}, "fc1");
  });
  EXPECT_TRUE(contains(text, "layer 'fc1'")) << text;
  EXPECT_TRUE(contains(text, "[4, 3]")) << text;
}

TEST(Graph, RefusesTwoParametersOfOneName) {
  Graph graph;
  graph.add_parameter("w", f32({2}), {});
  EXPECT_TRUE(contains(message_of<InvalidArgument>([&] { graph.add_parameter("w", f32({3}), {}); }),
                       "'w'"));
}

TEST(Graph, FindsOutputsAndInputsByName) {
  Graph graph;
  const ValueId x = graph.add_input("x", f32({2}));
  const ValueId y = graph.add_one("relu", {}, {x}, "y"), z = graph.add_one("relu", {}, {y}, "z");
  graph.set_output("out", y);
  EXPECT_EQ(graph.output("out"), y);
  graph.set_output("out", z);
  EXPECT_EQ(graph.output("out"), z);
  EXPECT_EQ(graph.outputs().size(), 1u);
  EXPECT_EQ(graph.input("x"), x);
  EXPECT_THROW(graph.output("y"), InvalidArgument);
  EXPECT_THROW(graph.input("y"), InvalidArgument);
}

TEST(Graph, CountsParametersAndOperations) {
  Graph graph;
  const ValueId x = graph.add_input("x", f32({4, 3}));
  const ValueId y = graph.add_one(
      "gemm", kTransposed,
      {x, graph.add_parameter("w", f32({5, 3}), {}), graph.add_parameter("b", f32({5}), {})}, "fc");
  graph.set_output("y", y);
  EXPECT_EQ(graph.parameter_count(), 20);
  EXPECT_EQ(node_flops(graph, graph.nodes()[0]), 2u * 4 * 3 * 5);
  const Graph trained = differentiate(graph, "y");
  EXPECT_EQ(node_flops(trained, trained.nodes()[1]), 2u * 4 * 3 * 5)
      << "of the weights' gradient alone: x needs none";
}

TEST(PruneUnused, KeepsWhatOutputsDependOn) {
  Graph graph;
  const ValueId x = graph.add_input("x", f32({2}));
  const ValueId y = graph.add_one("relu", {}, {x}, "y");
  graph.add_one("relu", {}, {y}, "unused");
  graph.set_output("out", y);
  const Graph pruned = prune_unused(graph);
  ASSERT_EQ(pruned.nodes().size(), 1u);
  EXPECT_EQ(pruned.nodes()[0].name, "y");
  EXPECT_EQ(pruned.value(pruned.output("out")).name, "y");
}

// --- differentiate

TEST(Differentiate, RefusesALossWithoutParameters) {
  Graph graph;
  graph.set_output("loss", graph.add_one("relu", {}, {graph.add_input("x", f32({2}))}, "y"));
  EXPECT_TRUE(
      contains(message_of<InvalidArgument>([&] { differentiate(graph, "loss"); }), "no parameter"));
}

TEST(Differentiate, RefusesAParameterWhereTheKernelCannotAddToItsGradient) {
  Graph graph;
  const ValueId w = graph.add_parameter("w", f32({3}), {});
  const ValueId x = graph.add_input("x", f32({3}));
  graph.set_output(
      "loss", graph.add_one("add", {}, {graph.add_one("relu", {}, {w}, "activation"), x}, "loss"));
  const std::string message = message_of<Unsupported>([&] { differentiate(graph, "loss"); });
  EXPECT_TRUE(contains(message, "'activation'") && contains(message, "'w'")) << message;
}

TEST(Differentiate, AddsNothingForBranchesThatDoNotReachTheLoss) {
  Graph graph;
  const ValueId x = graph.add_input("x", f32({2, 3})),
                w = graph.add_parameter("w", f32({3, 3}), {});
  const ValueId unused = graph.add_parameter("unused", f32({3, 3}), {});
  const ValueId y = graph.add_one("gemm", {}, {x, w}, "y");
  graph.add_one("gemm", {}, {y, unused}, "branch");
  graph.set_output("loss", y);
  const Graph trained = differentiate(graph, "loss");
  for (const Value& v : trained.values())
    EXPECT_TRUE(v.kind != ValueKind::kParameterGradient || v.name == "dw") << v.name;
  EXPECT_EQ(trained.nodes().size(), 3u) << "two forward nodes and one backward";
}

// A two-layer perceptron in double, as an oracle: loss = sum of cross-entropies.
struct Perceptron {
  std::int64_t rows, from, hidden, to;
  std::vector<double> x;
  std::vector<std::int64_t> label;

  double loss(const std::vector<double>& w1, const std::vector<double>& b1,
              const std::vector<double>& w2, const std::vector<double>& b2) const {
    double sum = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      std::vector<double> h(static_cast<std::size_t>(hidden)), z(static_cast<std::size_t>(to));
      dense(&x[static_cast<std::size_t>(n * from)], w1, b1, h);
      for (double& v : h) v = std::max(v, 0.0);
      dense(h.data(), w2, b2, z);
      double exponentials = 0;
      for (double v : z) exponentials += std::exp(v);
      sum +=
          std::log(exponentials) - z[static_cast<std::size_t>(label[static_cast<std::size_t>(n)])];
    }
    return sum;
  }

  static void dense(const double* in, const std::vector<double>& w, const std::vector<double>& b,
                    std::vector<double>& out) {
    const std::size_t columns = w.size() / out.size();
    for (std::size_t o = 0; o < out.size(); ++o) {
      out[o] = b[o];
      for (std::size_t i = 0; i < columns; ++i) out[o] += w[o * columns + i] * in[i];
    }
  }
};

TEST(Differentiate, GivesTheGradientOfAPerceptron) {
  Stream stream{Device{}};
  Graph graph;
  const ValueId image = graph.add_input("image", f32({3, 16, 5, 5})),
                label = graph.add_input("label", {DType::kI64, {3}});
  const auto parameter = [&](const char* name, const Shape& shape) {
    return graph.add_parameter(name, {DType::kF32, shape}, {Initializer::Kind::kUniform, 0.3});
  };
  const ValueId x = graph.add_one("flatten", {}, {image}, "flat");
  const ValueId h = graph.add_one("gemm", kTransposed,
                                  {x, parameter("w1", {7, 400}), parameter("b1", {7})}, "fc1");
  const ValueId a = graph.add_one("relu", {}, {h}, "act");
  const ValueId z =
      graph.add_one("gemm", kTransposed, {a, parameter("w2", {5, 7}), parameter("b2", {5})}, "fc2");
  graph.set_output("loss", graph.add("softmax_cross_entropy", {}, {z, label}, "loss").front());

  Runner runner(differentiate(graph, "loss"), 3, stream);
  const Batch batch(3, 9, stream);
  runner.feed(batch);
  runner.executor.run({});

  Perceptron oracle{3, 400, 7, 5, {}, {}};
  oracle.x.assign(batch.image.as<float>().begin(), batch.image.as<float>().end());
  oracle.label.assign(batch.label.as<std::int64_t>().begin(), batch.label.as<std::int64_t>().end());
  const char* names[] = {"w1", "b1", "w2", "b2"};
  std::vector<std::vector<double>> p;
  for (const char* name : names) {
    const TensorView view = runner.parameters.parameter(name);
    p.emplace_back(view.as<float>(), view.as<float>() + view.numel());
  }
  const auto loss = [&] { return oracle.loss(p[0], p[1], p[2], p[3]); };
  EXPECT_NEAR(runner.output("loss")[0], loss(), 1e-5);
  for (std::size_t k = 0; k < 4; ++k) {
    const std::vector<float> gradient = runner.gradient(names[k]);
    ASSERT_EQ(gradient.size(), p[k].size());
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      constexpr double kStep = 1e-5;
      const double at = p[k][i];
      p[k][i] = at + kStep;
      const double above = loss();
      p[k][i] = at - kStep;
      const double below = loss();
      p[k][i] = at;
      ASSERT_NEAR(gradient[i], (above - below) / (2 * kStep), 2e-5) << names[k] << " element " << i;
    }
  }
}

// y = w x summed with itself along three paths: the gradients of all must be added.
TEST(Differentiate, SumsTheGradientsOfEveryUse) {
  Stream stream{Device{}};
  Graph graph;
  const ValueId image = graph.add_input("image", f32({2, 16, 5, 5}));
  graph.add_input("label", {DType::kI64, {2}});
  const ValueId x = graph.add_one("flatten", {}, {image}, "flat");
  const ValueId w = graph.add_parameter("w", f32({1, 400}), {Initializer::Kind::kUniform, 1});
  const ValueId y = graph.add_one("gemm", kTransposed, {x, w}, "y");  // [2, 1]
  const ValueId twice = graph.add_one("add", {}, {y, y}, "twice");
  const ValueId thrice = graph.add_one("add", {}, {twice, y}, "thrice");
  const ValueId ones = graph.add_parameter("ones", f32({2, 1}), {Initializer::Kind::kConstant, 1});
  const ValueId sum =
      graph.add_one("gemm", {{"transA", std::int64_t{1}}}, {thrice, ones}, "sum");  // [1, 1]
  graph.set_output("loss", graph.add_one("flatten", {}, {sum}, "loss"));
  Graph trained = differentiate(graph, "loss");

  Runner runner(trained, 3, stream);
  const Batch batch(2, 9, stream);
  Tensor dloss(f32({1, 1}), stream);
  dloss.as<float>()[0] = 1;
  runner.executor.feed("image", batch.image.view());
  runner.executor.feed("label", batch.label.view());
  runner.executor.feed("dloss", dloss.view());
  runner.executor.run({});
  const std::vector<float> dw = runner.gradient("w");
  const auto x_values = batch.image.as<float>();
  for (std::size_t i = 0; i < 400; ++i)
    ASSERT_NEAR(dw[i], 3 * (x_values[i] + x_values[400 + i]), 1e-5) << i;
}

// One weight in two layers: x w w. The gradient of a scalar chain is known in closed form.
TEST(Differentiate, AddsWhatEveryUseOfASharedParameterGives) {
  Stream stream{Device{}};
  Graph graph;
  const ValueId x = graph.add_input("x", f32({1, 1}));
  const ValueId w = graph.add_parameter("w", f32({1, 1}), {Initializer::Kind::kConstant, 3});
  const ValueId y = graph.add_one("gemm", {}, {x, w}, "first");
  graph.set_output("loss", graph.add_one("gemm", {}, {y, w}, "second"));
  const Graph trained = differentiate(graph, "loss");
  EXPECT_EQ(trained.nodes().back().accumulate, 0b10u);
  Runner runner(trained, 1, stream);
  Tensor five(f32({1, 1}), stream), one(f32({1, 1}), stream);
  five.as<float>()[0] = 5;
  one.as<float>()[0] = 1;
  runner.executor.feed("x", five.view());
  runner.executor.feed("dloss", one.view());
  runner.executor.run({});
  EXPECT_EQ(runner.output("loss")[0], 45);
  EXPECT_EQ(runner.gradient("w")[0], 2 * 3 * 5);
  runner.executor.run({.accumulate = true});
  EXPECT_EQ(runner.gradient("w")[0], 2 * 2 * 3 * 5) << "the second micro-batch adds";
  runner.executor.run({});
  EXPECT_EQ(runner.gradient("w")[0], 2 * 3 * 5) << "without accumulate it overwrites";
}

TEST(Differentiate, TheExecutorAgreesWithARunInSeparateMemoryBitByBit) {
  Stream stream{Device{}};
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph graph = differentiate(graph_testing::random_classifier(seed, 4), "loss");
    Runner runner(graph, seed, stream);
    const Batch batch(4, seed, stream);
    runner.feed(batch);
    runner.executor.run({});
    NaiveExecutor naive(graph, runner.parameters, stream);
    naive.feed("image", batch.image.view());
    naive.feed("label", batch.label.view());
    naive.feed("dloss", batch.dloss.view());
    naive.run();
    for (const char* name : {"loss", "logits", "some"})
      ASSERT_EQ(runner.output(name), naive.output(name)) << name;
    for (const ParameterSlot& slot : runner.layout.parameters()) {
      const std::vector<float> expected = naive.gradient(slot.name);
      ASSERT_TRUE(expected.empty() || runner.gradient(slot.name) == expected) << slot.name;
    }
  }
}

}  // namespace
}  // namespace phalanx
