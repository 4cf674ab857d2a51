// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "op/op.hpp"
#include "tensor/tensor.hpp"
#include "train/config.hpp"

namespace phalanx {

/// Updates a slice of the parameter arena from the same slice of the gradient arena, by the operators `sgd` and `adam`.
/// Its state is a few arenas ("slots") of the slice's length, zero at the start.
class Optimizer {
 public:
  /// `elements`: length of the slice.
  /// Throws    ConfigError for an unknown optimizer.
  Optimizer(const TrainConfig& config, std::int64_t elements, Stream& stream);

  struct Slot {
    std::string name;  ///< "momentum", "first_moment", "second_moment"
    Tensor values;
  };
  const std::vector<Slot>& slots() const noexcept { return slots_; }

  /// What one update works on: the same slice of three arenas. `copy` is bf16 and may be absent.
  struct Slice {
    TensorView parameters;
    ConstTensorView gradients;
    TensorView copy;
  };
  /// One update. `step` counts from 0; `gradient_scale` multiplies every gradient (clipping). In place; the copy is written
  /// in the same pass.
  void update(const Slice& slice, double learning_rate, double gradient_scale, std::int64_t step,
              Stream& stream);

 private:
  TrainConfig config_;
  const OpSpec& op_;
  Attributes attributes_;
  std::vector<Slot> slots_;
};

/// Euclidean norm of an f32 tensor, summed in double in a fixed order.
double norm(ConstTensorView values);

}  // namespace phalanx
