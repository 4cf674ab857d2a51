// SPDX-License-Identifier: Apache-2.0
#include "train/column_shards.hpp"

#include <algorithm>

namespace phalanx {

Tensor ColumnShards::gather(ConstTensorView part) const {
  const std::int64_t rows = part.shape()[0], width = columns_.size();
  Tensor whole({DType::kF32, Shape{rows, total_}}, stream_);
  std::ranges::fill(whole.as<float>(), 0.0f);
  for (std::int64_t r = 0; r < rows; ++r)
    std::copy_n(part.as<float>() + r * width, width,
                whole.as<float>().data() + r * total_ + columns_.begin);
  // Every element is zero on all ranks but one, so the sum is exact.
  comm_.all_reduce(whole.view(), ReduceOp::kSum, stream_);
  return whole;
}

void ColumnShards::scatter(ConstTensorView whole, TensorView part) const {
  const std::int64_t rows = part.shape()[0], width = columns_.size();
  for (std::int64_t r = 0; r < rows; ++r)
    std::copy_n(whole.as<float>() + r * total_ + columns_.begin, width,
                part.as<float>() + r * width);
}

}  // namespace phalanx
