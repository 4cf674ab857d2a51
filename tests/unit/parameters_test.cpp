// SPDX-License-Identifier: Apache-2.0
#include "graph/parameters.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "graph/passes/passes.hpp"
#include "graph_testing.hpp"

namespace phalanx {
namespace {

std::vector<float> values_of(TensorView view) {
  return {view.as<float>(), view.as<float>() + view.numel()};
}

Graph with_parameters(const std::vector<std::pair<std::string, Shape>>& parameters,
                      Initializer init) {
  Graph graph;
  for (const auto& [name, shape] : parameters)
    graph.add_parameter(name, {DType::kF32, shape}, init);
  return graph;
}

TEST(ParameterSet, DrawsDependOnNameAndSeedOnly) {
  Stream stream{Device{}};
  const Initializer uniform{Initializer::Kind::kUniform, 0.5};
  ParameterSet one(ParameterLayout(with_parameters({{"a", {7, 3}}, {"b", {33}}}, uniform)), stream);
  ParameterSet other(
      ParameterLayout(with_parameters({{"c", {5}}, {"b", {33}}, {"a", {7, 3}}}, uniform)), stream);
  one.initialise(4);
  other.initialise(4);
  EXPECT_EQ(values_of(one.parameter("a")), values_of(other.parameter("a")));
  EXPECT_EQ(values_of(one.parameter("b")), values_of(other.parameter("b")));
  EXPECT_NE(values_of(other.parameter("c"))[0], values_of(other.parameter("a"))[0]);
  other.initialise(5);
  EXPECT_NE(values_of(one.parameter("b")), values_of(other.parameter("b")));
  other.initialise(4);
  EXPECT_EQ(values_of(one.parameter("b")), values_of(other.parameter("b")));
}

TEST(ParameterSet, DoesNotDependOnTheBatchSize) {
  Stream stream{Device{}};
  const Graph small = differentiate(graph_testing::random_classifier(3, 2), "loss");
  const Graph large = differentiate(graph_testing::random_classifier(3, 9), "loss");
  ParameterSet a{ParameterLayout(small), stream}, b{ParameterLayout(large), stream};
  a.initialise(1);
  b.initialise(1);
  EXPECT_EQ(values_of(a.parameters()), values_of(b.parameters()));
}

TEST(ParameterSet, DrawsHaveTheirDistribution) {
  Stream stream{Device{}};
  const auto moments = [&](Initializer init) {
    ParameterSet set(ParameterLayout(with_parameters({{"w", {200, 101}}}, init)), stream);
    set.initialise(8);
    double sum = 0, squares = 0, largest = 0;
    const std::vector<float> values = values_of(set.parameter("w"));
    for (double v : values) sum += v, squares += v * v, largest = std::max(largest, std::abs(v));
    const double count = static_cast<double>(values.size());
    return std::array<double, 3>{sum / count, std::sqrt(squares / count), largest};
  };
  const auto uniform = moments({Initializer::Kind::kUniform, 0.5});
  EXPECT_NEAR(uniform[0], 0, 0.01);
  EXPECT_NEAR(uniform[1], 0.5 / std::sqrt(3.0), 0.01);
  EXPECT_LE(uniform[2], 0.5);
  EXPECT_GT(uniform[2], 0.499);
  const auto normal = moments({Initializer::Kind::kNormal, 0.5});
  EXPECT_NEAR(normal[0], 0, 0.015);
  EXPECT_NEAR(normal[1], 0.5, 0.015);
  EXPECT_GT(normal[2], 1.5);
  const auto constant = moments({Initializer::Kind::kConstant, 0.25});
  EXPECT_EQ(constant[0], 0.25);
  EXPECT_EQ(constant[2], 0.25);
}

TEST(ParameterSet, PaddingIsZero) {
  Stream stream{Device{}};
  ParameterSet set(ParameterLayout(with_parameters({{"a", {7, 3}}, {"b", {33}}},
                                                   {Initializer::Kind::kConstant, 2})),
                   stream);
  set.initialise(1);
  EXPECT_EQ(set.parameters().numel(), 32 + 48);
  EXPECT_EQ(std::ranges::count(values_of(set.parameters()), 0.0f), 11 + 15);
}

TEST(ParameterSet, StatesHaveAnArenaOfTheirOwn) {
  Stream stream{Device{}};
  Graph graph;
  graph.add_state("running_mean", {DType::kF32, {3}}, {Initializer::Kind::kConstant, 0});
  graph.add_state("running_var", {DType::kF32, {3}}, {Initializer::Kind::kConstant, 1});
  ParameterSet set{ParameterLayout(graph), stream};
  set.initialise(1);
  EXPECT_EQ(values_of(set.state("running_var")), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(values_of(set.state("running_mean")), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(set.parameters().numel(), 0);
  EXPECT_THROW(set.parameter("running_var"), InvalidArgument);
  EXPECT_THROW(set.state("other"), InvalidArgument);
}

TEST(ParameterLayout, PlacesParametersInTheOrderOfTheirGradients) {
  const Graph graph = differentiate(graph_testing::random_classifier(5, 2), "loss");
  const ParameterLayout layout(graph);
  const auto final_at = [&](const std::string& name) {
    std::size_t last = graph.nodes().size();
    for (std::size_t n = 0; n < graph.nodes().size(); ++n)
      for (ValueId out : graph.nodes()[n].outputs)
        if (out != kNoValue && graph.value(out).parameter != kNoValue &&
            graph.value(graph.value(out).parameter).name == name)
          last = n;
    return last;
  };
  std::int64_t end = 0;
  std::size_t before = 0;
  for (const ParameterSlot& slot : layout.parameters()) {
    EXPECT_EQ(slot.offset, end) << slot.name;
    EXPECT_EQ(slot.offset % 16, 0);
    EXPECT_GE(final_at(slot.name), before) << slot.name;
    before = final_at(slot.name);
    end = slot.offset + (slot.shape.numel() + 15) / 16 * 16;
  }
  EXPECT_EQ(layout.parameter_elements(), end);
}

TEST(ParameterLayout, RefusesParametersThatAreNotF32) {
  Graph graph;
  graph.add_parameter("w", {DType::kBf16, {3}}, {});
  EXPECT_THROW(ParameterLayout{graph}, InvalidArgument);
}

}  // namespace
}  // namespace phalanx
