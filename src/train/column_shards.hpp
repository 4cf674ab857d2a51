// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// Partition `column`: between the columns of the first dense layer's weights [O, F] that this rank holds, and the whole
/// weights that a checkpoint holds.
class ColumnShards {
 public:
  /// `weight`: name of the parameter that is cut; `columns` of `total` are this rank's.
  ColumnShards(std::string weight, Range columns, std::int64_t total, Communicator& comm,
               Stream& stream)
      : weight_(std::move(weight)),
        columns_(columns),
        total_(total),
        comm_(comm),
        stream_(stream) {}

  const std::string& weight() const noexcept { return weight_; }
  std::int64_t total() const noexcept { return total_; }

  /// The whole array from every rank's part [O, columns], all in host memory. Called by every rank.
  Tensor gather(ConstTensorView part) const;
  /// This rank's columns of the whole array [O, total], which is in host memory, to where the stream's device is.
  void scatter(ConstTensorView whole, TensorView part) const;

 private:
  std::string weight_;
  Range columns_;
  std::int64_t total_;
  Communicator& comm_;
  Stream& stream_;
  mutable Stream host_{Device{}};
};

}  // namespace phalanx
