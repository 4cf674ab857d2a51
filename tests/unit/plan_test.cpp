// SPDX-License-Identifier: Apache-2.0
#include "graph/plan.hpp"

#include <fmt/format.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "graph/passes/passes.hpp"
#include "graph_testing.hpp"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  void* p = std::aligned_alloc(
      alignment, (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// Every `new` of this program, libraries included, is counted.
void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace phalanx {
namespace {

using graph_testing::Batch;
using graph_testing::Runner;

struct Range {
  std::size_t begin, end;
  bool overlaps(const Range& o) const { return begin < o.end && o.begin < end; }
};

/// Follows a plan step by step and keeps book of which value every byte of the arena holds. Knows
/// nothing of how the plan was made: lifetimes follow from what is read when.
class PlanChecker {
 public:
  explicit PlanChecker(const Plan& plan)
      : plan_(plan), graph_(plan.graph()), holds_(graph_.values().size(), false) {}

  void check() {
    for (const PlannedStep& step : plan_.steps()) {
      const Node& node = graph_.nodes()[static_cast<std::size_t>(step.node)];
      SCOPED_TRACE("step " + node.name);
      for (ValueId in : node.inputs)
        EXPECT_TRUE(!in_arena(in) || holds(in))
            << "input '" << graph_.value(in).name << "' was overwritten before its use";
      if (step.kernel == nullptr)
        follow_view(node);
      else
        follow_kernel(step, node);
    }
    for (const auto& [name, id] : graph_.outputs())
      EXPECT_TRUE(!in_arena(id) || holds(id)) << "output '" << name << "' does not survive the run";
  }

 private:
  bool in_arena(ValueId id) const {
    return id != kNoValue && plan_.placement(id).storage == Storage::kActivations;
  }
  bool holds(ValueId id) const { return holds_[static_cast<std::size_t>(id)]; }

  Range range(ValueId id) const {
    const std::size_t begin = plan_.placement(id).offset;
    return {begin, begin + graph_.value(id).type.size_bytes()};
  }

  void overwrite(const Range& bytes) {
    for (std::size_t v = 0; v < holds_.size(); ++v)
      if (holds_[v] && range(static_cast<ValueId>(v)).overlaps(bytes)) holds_[v] = false;
  }

  /// A view's output must be exactly its input's bytes; nothing is written.
  void follow_view(const Node& node) {
    ValueId from = node.inputs[0], to = node.outputs[0];
    if (node.backward) from = node.inputs[2];  // x, y, dy
    EXPECT_EQ(plan_.placement(to).storage, plan_.placement(from).storage);
    EXPECT_EQ(plan_.placement(to).offset, plan_.placement(from).offset);
    if (in_arena(to)) holds_[static_cast<std::size_t>(to)] = true;
  }

  void follow_kernel(const PlannedStep& step, const Node& node) {
    const std::size_t bytes = step.state ? step.state->workspace_bytes() : 0;
    const Range workspace{step.workspace_offset, step.workspace_offset + bytes};
    EXPECT_LE(workspace.end, plan_.arena_bytes());
    EXPECT_EQ(workspace.begin % kBufferAlignment, 0u);
    for (ValueId in : node.inputs)
      EXPECT_FALSE(in_arena(in) && range(in).overlaps(workspace))
          << "the workspace lies on an input";
    overwrite(workspace);
    std::vector<ValueId> written;
    for (std::size_t o = 0; o < node.outputs.size(); ++o) {
      const ValueId out = node.outputs[o];
      if (out == kNoValue) continue;
      EXPECT_NE(plan_.placement(out).storage, Storage::kFeed)
          << "a kernel writes into an input of the graph";
      EXPECT_NE(plan_.placement(out).storage, Storage::kParameters)
          << "a kernel writes into a parameter";
      if (!in_arena(out)) continue;
      EXPECT_LE(range(out).end, plan_.arena_bytes());
      EXPECT_EQ(range(out).begin % kBufferAlignment, 0u);
      EXPECT_FALSE(range(out).overlaps(workspace));
      for (ValueId other : written)
        EXPECT_FALSE(range(out).overlaps(range(other))) << "two outputs overlap";
      check_in_place(node, o);
      written.push_back(out);
    }
    for (ValueId out : written) overwrite(range(out));
    for (ValueId out : written) holds_[static_cast<std::size_t>(out)] = true;
  }

  /// An output may lie on an input of the same step only as the operator's rules say, and exactly
  /// on it.
  void check_in_place(const Node& node, std::size_t output) {
    const Range to = range(node.outputs[output]);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId in = node.inputs[i];
      if (!in_arena(in) || !range(in).overlaps(to)) continue;
      EXPECT_EQ(range(in).begin, to.begin);
      EXPECT_EQ(range(in).end, to.end);
      EXPECT_TRUE(may_overwrite(node, output, i))
          << "output " << output << " overwrites input " << i;
    }
  }

  static bool may_overwrite(const Node& node, std::size_t output, std::size_t input) {
    if (node.backward) {
      const std::size_t dy = node.inputs.size() - (node.inputs.size() - node.outputs.size()) / 2;
      return input == dy && (node.op->dx_may_overwrite_dy >> output & 1u) != 0;
    }
    for (const AliasRule& rule : node.op->aliases)
      if (static_cast<std::size_t>(rule.output) == output &&
          static_cast<std::size_t>(rule.input) == input)
        return true;
    return false;
  }

  const Plan& plan_;
  const Graph& graph_;
  std::vector<bool> holds_;  // whether a value's bytes in the arena are still its own
};

Plan plan_of(const Graph& graph) { return Plan(graph, ParameterLayout(graph), Device{}); }

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }

TEST(Plan, NoTwoLiveValuesOverlapInRandomGraphs) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph forward = graph_testing::random_classifier(seed, 3);
    for (const Graph& graph :
         {forward, differentiate(forward, "loss"), prune_unused(differentiate(forward, "loss"))}) {
      const Plan plan = plan_of(graph);
      PlanChecker(plan).check();
      EXPECT_LT(plan.arena_bytes(), plan.unshared_bytes());
      if (HasFailure()) return;
    }
  }
}

TEST(Plan, RunsAChainOfReluInOnePlace) {
  Graph graph;
  ValueId x = graph.add_one(
      "gemm", {}, {graph.add_input("x", f32({8, 8})), graph.add_parameter("w", f32({8, 8}), {})},
      "y");
  for (int i = 0; i < 5; ++i) x = graph.add_one("relu", {}, {x}, "relu" + std::to_string(i));
  graph.set_output("out", x);
  const Plan plan = plan_of(graph);
  PlanChecker(plan).check();
  const std::size_t workspace = plan.steps()[0].state->workspace_bytes();
  EXPECT_EQ(plan.arena_bytes(), 256u + align_up(workspace));
}

TEST(Plan, OverwritesNothingThatIsReadLaterOrBelongsToOthers) {
  Graph graph;
  const ValueId x = graph.add_input("x", f32({64})), w = graph.add_parameter("w", f32({64}), {});
  const ValueId of_input = graph.add_one("relu", {}, {x}, "of_input");
  const ValueId of_parameter = graph.add_one("relu", {}, {w}, "of_parameter");
  const ValueId kept = graph.add_one("relu", {}, {of_input}, "kept");
  const ValueId later = graph.add_one("relu", {}, {kept}, "later");
  graph.set_output("kept", kept);
  graph.set_output("sum", graph.add_one("add", {}, {of_parameter, later}, "sum"));
  const Plan plan = plan_of(graph);
  PlanChecker(plan).check();
  EXPECT_EQ(plan.placement(of_input).storage, Storage::kActivations);
  EXPECT_EQ(plan.placement(of_parameter).storage, Storage::kActivations);
  EXPECT_EQ(plan.placement(kept).offset, plan.placement(of_input).offset)
      << "nobody reads it again";
  EXPECT_NE(plan.placement(later).offset, plan.placement(kept).offset)
      << "an output of the graph survives";
}

TEST(Plan, ViewsShareTheirInputsMemoryAndRunNothing) {
  Graph graph;
  const ValueId x = graph.add_input("x", f32({2, 3, 4}));
  const ValueId of_input = graph.add_one("flatten", {}, {x}, "of_input");
  const ValueId y = graph.add_one("relu", {}, {x}, "y");
  const ValueId of_computed = graph.add_one("flatten", {}, {y}, "of_computed");
  graph.set_output("a", of_input);
  graph.set_output("b", of_computed);
  const Plan plan = plan_of(graph);
  EXPECT_EQ(plan.placement(of_input).storage, Storage::kFeed);
  EXPECT_EQ(plan.placement(of_computed).offset, plan.placement(y).offset);
  EXPECT_EQ(plan.steps()[0].kernel, nullptr);
  EXPECT_EQ(plan.steps()[2].kernel, nullptr);

  Stream stream{Device{}};
  Runner runner(graph, 1, stream);
  Tensor first(f32({2, 3, 4}), stream), second(f32({2, 3, 4}), stream);
  for (std::size_t i = 0; i < 24; ++i)
    first.as<float>()[i] = static_cast<float>(i), second.as<float>()[i] = -1;
  for (const Tensor* image : {&first, &second}) {
    runner.executor.feed("x", image->view());
    runner.executor.run({});
    EXPECT_EQ(runner.output("a"),
              std::vector<float>(image->as<float>().begin(), image->as<float>().end()));
    EXPECT_EQ(runner.output("b")[5], std::max(0.0f, image->as<float>()[5]));
  }
}

TEST(Plan, GradientsAreFinalWhenNoLaterStepWritesThem) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph graph = differentiate(graph_testing::random_classifier(seed, 3), "loss");
    const ParameterLayout layout(graph);
    const Plan plan(graph, layout, Device{});
    std::int64_t before = 0;
    for (std::size_t s = 0; s < plan.steps().size(); ++s) {
      std::int64_t first_open = layout.parameter_elements();
      for (std::size_t later = s + 1; later < plan.steps().size(); ++later)
        for (ValueId out :
             graph.nodes()[static_cast<std::size_t>(plan.steps()[later].node)].outputs)
          if (out != kNoValue && graph.value(out).kind == ValueKind::kParameterGradient)
            first_open = std::min(
                first_open, layout.parameter(graph.value(graph.value(out).parameter).name).offset);
      ASSERT_EQ(plan.steps()[s].gradients_final, first_open) << "step " << s;
      ASSERT_GE(plan.steps()[s].gradients_final, before);
      before = plan.steps()[s].gradients_final;
    }
    EXPECT_EQ(before, layout.parameter_elements());
  }
}

TEST(Plan, SaysWhenGradientsAreFinalAsTheyBecomeSo) {
  Stream stream{Device{}};
  const Graph graph = differentiate(graph_testing::random_classifier(4, 3), "loss");
  Runner runner(graph, 1, stream), whole(graph, 1, stream);
  const Batch batch(3, 2, stream);
  runner.feed(batch);
  whole.feed(batch);
  whole.executor.run({});
  std::vector<std::int64_t> calls;
  RunOptions options;
  options.on_gradients_final = [&](std::int64_t elements) {
    calls.push_back(elements);
    for (const ParameterSlot& slot : runner.layout.parameters()) {
      if (slot.offset + slot.shape.numel() > elements) continue;
      const std::vector<float> expected = whole.gradient(slot.name),
                               found = runner.gradient(slot.name);
      EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0)
          << slot.name << " was not final";
    }
  };
  runner.executor.run(options);
  EXPECT_TRUE(std::ranges::is_sorted(calls));
  EXPECT_GT(calls.size(), 2u);
  EXPECT_EQ(calls.back(), runner.layout.parameter_elements());
}

TEST(Plan, RefusesADeviceWithoutKernels) {
  Graph graph;
  graph.set_output("y", graph.add_one("relu", {}, {graph.add_input("x", f32({2}))}, "y"));
  EXPECT_THROW(Plan(graph, ParameterLayout(graph), Device{DeviceKind::kCuda, 0}), Unsupported);
}

TEST(Executor, AllocatesNothingInARun) {
  Stream stream{Device{}};
  Graph graph;
  const ValueId image = graph.add_input("image", f32({8, 16, 5, 5})),
                label = graph.add_input("label", {DType::kI64, {8}});
  const ValueId w = graph.add_parameter("w", f32({16, 5, 5}), {Initializer::Kind::kUniform, 1});
  const ValueId sum =
      graph.add_one("relu", {}, {graph.add_one("add", {}, {image, w}, "sum")}, "relu");
  const ValueId logits = graph.add_one("flatten", {}, {sum}, "flatten");
  graph.set_output("loss", graph.add("softmax_cross_entropy", {}, {logits, label}, "loss").front());
  Runner runner(differentiate(graph, "loss"), 1, stream);
  const Batch batch(8, 2, stream);
  runner.feed(batch);
  runner.executor.run({});
  const std::int64_t before = allocations;
  for (int i = 0; i < 3; ++i) runner.executor.run({.accumulate = i > 0});
  EXPECT_EQ(allocations, before);
}

// oneDNN allocates a few small objects in every call; what a run adds to that must not depend on
// anything.
TEST(Executor, AllocatesTheSameFewObjectsInEveryRunWithOneDnn) {
  Stream stream{Device{}};
  Runner runner(differentiate(graph_testing::random_classifier(1, 8), "loss"), 1, stream);
  const Batch batch(8, 2, stream);
  runner.feed(batch);
  runner.executor.run({});
  std::vector<std::int64_t> counts;
  for (std::uint64_t i = 0; i < 5; ++i) {
    const std::int64_t before = allocations;
    runner.executor.run({.random = {.step = i}, .parameter_version = i});
    const std::int64_t after = allocations;
    counts.push_back(after - before);
  }
  for (const std::int64_t count : counts) EXPECT_EQ(count, counts[0]);
  EXPECT_LE(counts[0], static_cast<std::int64_t>(8 * runner.executor.plan().steps().size()));
}

TEST(Executor, NamesTheInputThatWasNotFedOrDoesNotFit) {
  Stream stream{Device{}};
  Graph graph;
  graph.set_output("y", graph.add_one("relu", {}, {graph.add_input("x", f32({2}))}, "y"));
  Runner runner(graph, 1, stream);
  EXPECT_THROW(runner.executor.run({}), InvalidArgument);
  const Tensor other(f32({3}), stream);
  EXPECT_THROW(runner.executor.feed("x", other.view()), InvalidArgument);
  EXPECT_THROW(runner.executor.feed("z", other.view()), InvalidArgument);
  EXPECT_THROW(runner.executor.output("x"), InvalidArgument);
}

TEST(Executor, SharesItsArenaWithOthersThatNeedMore) {
  Stream stream{Device{}};
  const Graph graph = graph_testing::random_classifier(2, 3),
              large = graph_testing::random_classifier(2, 64);
  Runner alone(graph, 5, stream);
  const Batch batch(3, 2, stream), large_batch(64, 2, stream);
  alone.feed(batch);
  alone.executor.run({});
  Workspace arena(stream);
  Executor small(Plan(graph, alone.layout, Device{}), alone.parameters, {}, arena, stream);
  Executor big(Plan(large, alone.layout, Device{}), alone.parameters, {}, arena,
               stream);  // the arena moves
  big.feed("image", large_batch.image.view());
  big.feed("label", large_batch.label.view());
  big.run({});
  small.feed("image", batch.image.view());
  small.feed("label", batch.label.view());
  small.run({});
  EXPECT_EQ(small.output("loss").as<float>()[0], alone.output("loss")[0]);
}

}  // namespace
}  // namespace phalanx
