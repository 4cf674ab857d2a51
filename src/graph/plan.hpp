// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "graph/parameters.hpp"

namespace phalanx {

/// Where the bytes of a value come from on every run.
enum class Storage : std::uint8_t {
  kFeed,
  kActivations,
  kParameters,
  kParameterCopies,
  kStates,
  kGradients,
  kNone
};

struct Placement {
  Storage storage = Storage::kNone;
  std::size_t offset = 0;  ///< in bytes, into the storage; of a feed: the index of the input
};

/// An output of which every shard makes its own, and where their sum goes.
struct ShardSum {
  std::size_t output = 0;
  std::size_t offset = 0;    ///< in bytes, into the gradient arena
  ValueId state = kNoValue;  ///< what the output updates, where it is no gradient
};

/// One node in its place, with what its kernel prepared.
struct PlannedStep {
  NodeId node = kNoNode;
  Kernel kernel = nullptr;               ///< null: a view, nothing runs
  ShardsKernel shards_kernel = nullptr;  ///< runs in place of `kernel`, once for all shards
  std::vector<ShardSum> sums;
  std::unique_ptr<OpState> state;
  std::size_t workspace_offset = 0;  ///< in the activation arena
  std::uint32_t parameter_gradients =
      0;  ///< outputs that add when gradients are accumulated over micro-batches
  std::int64_t gradients_final =
      0;  ///< elements of the gradient arena that are final after this step
};

/// How a graph runs on a device: the order, the kernels, every byte of memory, and when each gradient is final.
/// Activations, gradients of activations and workspaces share one arena: two of them overlap only if their lifetimes do
/// not. A run allocates nothing, with shards nothing but lists of their operands.
///
/// With shards a run works on several batches of the graph's size, node by node: every kernel sees one shard, with the same
/// shapes whatever their number, and gradients are summed over shards in the order of combine(). States are not updated;
/// the sums of what they would become lie behind the gradients, at ParameterLayout::parameter_elements().
class Plan {
 public:
  /// `layout` gives the places of parameters, states and gradients and must cover the graph's. `shards` = 0: one batch, and
  /// states are updated.
  /// Throws    Unsupported if an operator has no kernel on the device; with shards, if a parameter is used twice.
  Plan(Graph graph, const ParameterLayout& layout, Device device, std::int64_t shards = 0);

  const Graph& graph() const noexcept { return graph_; }
  const std::vector<PlannedStep>& steps() const noexcept { return steps_; }
  const Placement& placement(ValueId id) const {
    return placements_.at(static_cast<std::size_t>(id));
  }
  std::int64_t shards() const noexcept { return shards_; }
  /// Bytes from a shard's part of a value to the next one's; 0 if it belongs to no shard.
  std::size_t shard_stride(ValueId id) const { return strides_.at(static_cast<std::size_t>(id)); }
  std::size_t arena_bytes() const noexcept { return arena_bytes_; }
  /// What the arena would take if only views shared memory.
  std::size_t unshared_bytes() const noexcept { return unshared_bytes_; }
  const std::vector<ValueId>& feeds() const noexcept { return feeds_; }
  std::uint64_t flops() const;

 private:
  friend class Planner;
  Graph graph_;
  std::vector<PlannedStep> steps_;
  std::vector<Placement> placements_;
  std::vector<ValueId> feeds_;
  std::vector<std::size_t> strides_;
  std::int64_t shards_ = 0;
  std::size_t arena_bytes_ = 0;
  std::size_t unshared_bytes_ = 0;
};

/// What changes from run to run.
struct RunOptions {
  RandomState random;
  const RandomPlace* random_place = nullptr;  ///< see OpContext
  bool accumulate = false;  ///< add to the gradients instead of overwriting them; not with shards
  std::uint64_t parameter_version = 0;  ///< see OpContext
  /// Called after a step from which on more gradients are final, with the number of final elements of the arena.
  std::function<void(std::int64_t)> on_gradients_final;
  /// Called before a kernel runs or, on a GPU, is enqueued.
  std::function<void(const Node&)> on_node;
  /// Called after that, with the node and when the call of the kernel began.
  std::function<void(const Node&, std::chrono::steady_clock::time_point)> on_node_done;
  /// Sums a tensor over the ranks in place, for graphs that `split_columns` made; null: one rank.
  std::function<void(TensorView)> collective;
};

/// A plan bound to memory. Several executors may share one arena, since a run leaves nothing in it but its outputs, which
/// are valid until the next run of any of them.
class Executor {
 public:
  /// All arguments must outlive the executor. `gradients` may be absent if the graph has none.
  Executor(Plan plan, ParameterSet& parameters, TensorView gradients, Workspace& arena,
           Stream& stream);

  /// The memory that an input reads from on the next runs; it is not copied. With shards an input with a batch axis holds
  /// their rows one after the other.
  /// Throws    InvalidArgument if type or name do not fit.
  void feed(std::string_view input, ConstTensorView data);
  /// What feed() expects.
  TensorType input_type(std::string_view input) const;
  /// Throws    InvalidArgument if an input was never fed; what a kernel throws.
  void run(const RunOptions& options);
  ConstTensorView output(std::string_view name, std::int64_t shard = 0) const;
  const Plan& plan() const noexcept { return plan_; }

  /// Seconds per step of the plan, summed over runs, once timing is on. For `inspect --time` and benchmarks.
  void enable_timing() { seconds_.assign(plan_.steps().size(), 0.0); }
  const std::vector<double>& step_seconds() const noexcept { return seconds_; }

 private:
  /// The operands of one step for one shard.
  struct Operands {
    std::vector<ConstTensorView> in;
    std::vector<TensorView> out;
  };
  void bind();
  Operands operands(const PlannedStep& step, std::int64_t shard) const;
  std::byte* address(ValueId id, std::int64_t shard) const;
  TensorType fed_type(ValueId input) const;
  void run_step(const PlannedStep& step, std::span<const Operands> shards, OpContext& ctx) const;
  void sum_shards(const PlannedStep& step, std::span<const Operands> shards) const;

  Plan plan_;
  ParameterSet& parameters_;
  TensorView gradients_;
  Workspace& arena_;
  Stream& stream_;
  std::byte* bound_arena_ = nullptr;
  bool has_copies_ = false;  // reads parameters in bf16
  std::vector<const void*> feeds_;
  std::vector<std::vector<Operands>> operands_;  // per step and shard
  std::vector<double> seconds_;
};

}  // namespace phalanx
