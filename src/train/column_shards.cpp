// SPDX-License-Identifier: Apache-2.0
#include "train/column_shards.hpp"

#include <algorithm>
#include <vector>

namespace phalanx {

Tensor ColumnShards::gather(ConstTensorView part) const {
  const std::int64_t rows = part.shape()[0], width = columns_.size();
  Tensor whole({DType::kF32, Shape{rows, total_}}, host_);
  std::ranges::fill(whole.as<float>(), 0.0f);
  for (std::int64_t r = 0; r < rows; ++r)
    std::copy_n(part.as<float>() + r * width, width,
                whole.as<float>().data() + r * total_ + columns_.begin);
  // Every element is zero on all ranks but one, so the sum is exact.
  comm_.all_reduce(whole.view(), ReduceOp::kSum, host_);
  return whole;
}

void ColumnShards::scatter(ConstTensorView whole, TensorView part) const {
  const std::int64_t rows = part.shape()[0], width = columns_.size();
  std::vector<float> mine;
  mine.reserve(static_cast<std::size_t>(rows * width));
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = whole.as<float>() + r * total_ + columns_.begin;
    mine.insert(mine.end(), row, row + width);
  }
  upload({mine.data(), part.type}, part, stream_);
}

}  // namespace phalanx
