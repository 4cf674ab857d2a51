// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/plan.hpp"

namespace phalanx::graph_testing {

/// Runs a graph node by node, every value in memory of its own: what an Executor must agree with,
/// bit by bit.
class NaiveExecutor {
 public:
  /// Reads parameters and states, and writes states, in place.
  NaiveExecutor(const Graph& graph, ParameterSet& parameters, Stream& stream);

  void feed(const std::string& input, ConstTensorView data);
  void run(const RandomState& random = {});
  std::vector<float> output(const std::string& name) const { return floats(graph_.output(name)); }
  /// The gradient of a parameter; empty if it has none.
  std::vector<float> gradient(const std::string& parameter) const;

 private:
  std::vector<float> floats(ValueId id) const;
  void allocate(ValueId id);
  void share_updated_states(const Node& node);

  const Graph& graph_;
  Stream& stream_;
  std::vector<Tensor> memory_;
  std::vector<void*> data_;  // per value
};

/// A random classifier of `rows` images with fan-out, views, shared parameters and branches without
/// use; its output "loss" is summed over the rows. Inputs: "image" f32 [rows, 16, 5, 5], "label"
/// i64 [rows].
Graph random_classifier(std::uint64_t seed, std::int64_t rows);
inline constexpr std::int64_t kClasses = 5;

/// Values for the inputs of a random classifier.
struct Batch {
  Batch(std::int64_t rows, std::uint64_t seed, Stream& stream);
  Tensor image, label, dloss;  ///< dloss = 1
};

/// A plan with all the memory it needs.
class Runner {
 public:
  Runner(const Graph& graph, std::uint64_t seed, Stream& stream, std::int64_t shards = 0);
  void feed(const Batch& batch);
  std::vector<float> output(const std::string& name) const;
  std::vector<float> gradient(const std::string& parameter) const;

  ParameterLayout layout;
  ParameterSet parameters;
  Tensor gradients;
  Workspace arena;
  Executor executor;
};

}  // namespace phalanx::graph_testing
