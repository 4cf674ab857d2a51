// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/gradient_reducer.hpp"
#include "op/op.hpp"
#include "tensor/tensor.hpp"
#include "train/config.hpp"

namespace phalanx {

/// Updates the parameter arena from the gradient arena by the operators `sgd` and `adam`: all of it, or, where the
/// gradients are scattered, what this rank owns (ZeRO stage 1). Its state is a few arenas ("slots") of as many elements,
/// zero at the start.
///
/// Source    Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", SC 2020.
class Optimizer {
 public:
  /// `elements`: length of the parameter arena. `reducer`: sums its gradients, and outlives the optimizer; null: nothing is
  /// scattered.
  /// Throws    ConfigError for an unknown optimizer.
  Optimizer(const TrainConfig& config, std::int64_t elements, GradientReducer* reducer,
            Stream& stream);

  /// What one update works on. `copy` is bf16 and may be absent.
  struct Arenas {
    TensorView parameters;
    ConstTensorView gradients;
    TensorView copy;
  };
  /// One update, in place. `step` counts from 0; `gradient_scale` multiplies every gradient (clipping). Scattered, the
  /// parameters are gathered from all ranks; the copy, if present, is then left to be refreshed, and the result says so.
  struct Updated {
    OverlapTimes gathering;
    bool has_copy = false;
  };
  /// What an update of such arenas says of its copy.
  bool writes_copy(const Arenas& arenas) const noexcept { return arenas.copy && !is_sharded(); }
  Updated update(const Arenas& arenas, double learning_rate, double gradient_scale,
                 std::int64_t step, Stream& stream);
  /// The same in two parts, of which the second can be captured: set_constants() before each update, on the host, with no
  /// update under way; the scale stands in memory of the device, f32 []. NaN: nothing is updated.
  void set_constants(double learning_rate, std::int64_t step, double gradient_scale = 1);
  Updated update(const Arenas& arenas, ConstTensorView gradient_scale, Stream& stream);

  /// "momentum", "first_moment", "second_moment"
  const std::vector<std::string>& slots() const noexcept { return slot_names_; }
  /// Whether a rank holds parts of the slots only.
  bool is_sharded() const noexcept { return reducer_ != nullptr && reducer_->scatters(); }
  /// Arena of one slot, in the order of the parameters. A view of it where this rank holds all; else collected into `space`
  /// on rank 0, by all ranks together, and null on the others.
  /// In memory of the device.
  TensorView whole_slot(std::size_t slot, Tensor& space) const;
  /// The reverse: takes what this rank owns of a whole arena.
  void set_slot(std::size_t slot, ConstTensorView arena);
  /// Of this rank.
  std::size_t state_bytes() const noexcept;

 private:
  const std::vector<Range>& owned() const noexcept;
  Updated update_with_hyper(const Arenas& arenas, Stream& stream);

  TrainConfig config_;
  const OpSpec& op_;
  std::int64_t elements_;
  GradientReducer* reducer_;
  Stream& stream_;
  std::vector<Range> all_;  // the one range of an optimizer that is not sharded
  Attributes attributes_;
  std::vector<std::string> slot_names_;
  HostTensor hyper_on_host_;
  Tensor hyper_;               // the constants of a step, as the operator wants them
  std::vector<Tensor> slots_;  // what is owned, end to end
};

}  // namespace phalanx
