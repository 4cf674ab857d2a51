// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "comm/gradient_reducer.hpp"
#include "graph/parameters.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// Euclidean norm of an f32 tensor, sqrt(sum v_i^2). Added in double, in blocks of kPartBlock elements and then over blocks,
/// always in the same order.
double norm(ConstTensorView values);

/// The same, to the last bit, where every rank holds what `reducer` says it owns. Collective.
double norm_of_parts(ConstTensorView values, const GradientReducer& reducer, Communicator& comm,
                     Stream& stream);

/// The same in memory of a GPU, without a wait: one double, stored as i64, for each block of `values`; see
/// DeviceBackend::judge_step for the rest. `reducer`: says what this rank owns; null: all.
std::int64_t blocks_of_norm(std::int64_t elements) noexcept;
void norm_blocks(ConstTensorView values, const GradientReducer* reducer, TensorView sums,
                 Communicator& comm, Stream& stream);

/// The norm where this rank holds columns of one parameter only: each rank adds the squares of its own columns, and all ranks
/// add what they hold alike in the same order, so that all have the same bits.
class CutNorm {
 public:
  /// `weight`: the parameter of `layout` that is cut.
  CutNorm(const ParameterLayout& layout, const std::string& weight, Communicator& comm,
          Stream& stream);

  /// On the CPU. Collective.
  double norm(ConstTensorView gradients);
  /// On a GPU, without a wait: as norm_blocks(), with blocks() sums, the same number on every rank. Collective.
  std::int64_t blocks() const noexcept;
  void add_blocks(ConstTensorView gradients, TensorView sums);

 private:
  std::int64_t block_of_cut() const noexcept;

  Range before_, cut_, after_;  // elements of the arena; before_ and after_ are what all ranks hold
  Communicator& comm_;
  Stream& stream_;
  Tensor mine_;  // on a GPU: sums of this rank's columns
};

}  // namespace phalanx
