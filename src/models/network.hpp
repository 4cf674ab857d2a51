// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "graph/passes/passes.hpp"
#include "graph/plan.hpp"
#include "models/model.hpp"

namespace phalanx {

struct NetworkOptions {
  ModelSpec model;
  std::string loss;               ///< see attach_loss
  std::string precision = "f32";  ///< f32 | tf32 (as f32 on the CPU) | bf16
  bool training = true;           ///< false: no gradients, training() may not be called
  bool sums_states =
      false;  ///< the gradient arena has room for sums of states: training over shards
  bool gathers_parameters =
      false;  ///< ranks write parts of the parameters for each other: a sharded optimizer
  bool folds_batch_norm = false;  ///< inference only; see fold_for_serving
  Range columns;  ///< not empty: this rank's share of the input columns (see split_columns)
};

/// A model on one device of one rank: its parameters, and an executor for every batch size that has been asked for, all
/// of them in one activation arena.
class Network {
 public:
  /// `batch`: the batch size that will be used most; decides nothing but what is planned first.
  /// Throws    ConfigError if the model does not fit; Unsupported.
  /// `comm`: of the ranks that sum the gradients. It outlives the network, and gives memory that ranks share for what they
  /// exchange; null for memory of its own.
  Network(NetworkOptions options, std::int64_t batch, Stream& stream, Communicator* comm = nullptr);

  const NetworkOptions& options() const noexcept { return options_; }
  ParameterSet& parameters() noexcept { return *parameters_; }
  /// First values of all parameters; a cut weight gets its columns of what the whole one would be.
  void initialise(std::uint64_t seed);
  /// The parameter of which this rank holds columns only; empty without NetworkOptions::columns.
  const std::string& cut_weight() const noexcept { return cut_weight_; }
  /// What NetworkOptions::folds_batch_norm has dropped.
  const std::vector<BatchNormFold>& folds() const noexcept { return folds_; }
  /// The gradient arena, f32 [parameter elements + state elements if they are summed + kTail]. Its tail carries sums that
  /// travel with the gradients.
  TensorView gradients() const noexcept { return gradients_; }
  static constexpr std::int64_t kTail = 16;

  /// Inputs "x", "target", "dloss"; outputs "loss" (summed over the batch), "logits" and, of classifiers, "correct"; fills
  /// the gradients.
  /// `shards` > 0: over so many shards of `batch` rows (see Plan).
  Executor& training(std::int64_t batch, std::int64_t shards = 0);
  /// Inputs "x", "target"; outputs "loss", "logits", "y" and, of classifiers, "correct". Dropout is off, batch norm
  /// uses its running statistics.
  Executor& evaluation(std::int64_t batch);
  /// Input "x"; outputs "logits", "y".
  Executor& inference(std::int64_t batch);

  /// Gives back what only training needs: its plans, and gradients unless they lie in memory of a communicator. training()
  /// may not be called any more.
  void release_training();

  /// Bytes of activations of the largest plan so far.
  std::size_t arena_bytes() const noexcept { return arena_.size_bytes(); }

 private:
  enum class Mode { kTraining, kEvaluation, kInference };
  Graph lower(Mode mode, std::int64_t batch);
  Executor& executor(Mode mode, std::int64_t batch, std::int64_t shards = 0);

  NetworkOptions options_;
  Stream& stream_;
  Workspace arena_;
  std::string cut_weight_;
  std::vector<BatchNormFold> folds_;
  std::unique_ptr<ParameterSet> parameters_;
  Tensor own_gradients_;  // where there is no communicator
  TensorView gradients_;
  std::map<std::tuple<Mode, std::int64_t, std::int64_t>, std::unique_ptr<Executor>> executors_;
};

}  // namespace phalanx
