// SPDX-License-Identifier: Apache-2.0
#include "train/gradient_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "device/backend.hpp"

namespace phalanx {
namespace {

// Eight partial sums, so that it vectorises.
double sum_of_squares(const float* v, std::int64_t count) {
  std::array<double, 8> sums{};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int k = 0; k < 8; ++k)
      sums[k] += static_cast<double>(v[i + k]) * static_cast<double>(v[i + k]);
  for (; i < count; ++i) sums[0] += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// Of each block of the tensor; zero for blocks outside of `range`, which begins and ends with blocks.
void add_blocks(ConstTensorView values, const Range& range, std::vector<double>& sums) {
  for (std::int64_t begin = range.begin; begin < range.end; begin += kPartBlock)
    sums[static_cast<std::size_t>(begin / kPartBlock)] =
        sum_of_squares(values.as<float>() + begin, std::min(kPartBlock, range.end - begin));
}

std::vector<double> blocks_of(ConstTensorView values) {
  return std::vector<double>(
      static_cast<std::size_t>((values.numel() + kPartBlock - 1) / kPartBlock));
}

double root_of_sum(const std::vector<double>& sums) {
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

}  // namespace

double norm(ConstTensorView values) {
  std::vector<double> sums = blocks_of(values);
  add_blocks(values, {0, values.numel()}, sums);
  return root_of_sum(sums);
}

double norm_of_parts(ConstTensorView values, const GradientReducer& reducer, Communicator& comm,
                     Stream& stream) {
  std::vector<double> sums = blocks_of(values);
  for (const Range& range : reducer.owned()) add_blocks(values, range, sums);
  // One rank has a block's sum, the others have zero: added as integers, its bits are what is left.
  comm.all_reduce({sums.data(), {DType::kI64, Shape{std::ssize(sums)}}}, ReduceOp::kSum, stream);
  return root_of_sum(sums);
}

std::int64_t blocks_of_norm(std::int64_t elements) noexcept {
  return (elements + kPartBlock - 1) / kPartBlock;
}

void norm_blocks(ConstTensorView values, const GradientReducer* reducer, TensorView sums,
                 Communicator& comm, Stream& stream) {
  DeviceBackend& backend = *stream.device().backend;
  const auto add = [&](const Range& range) {
    backend.sum_squares(values.as<float>() + range.begin, range.size(), kPartBlock,
                        static_cast<double*>(sums.data) + range.begin / kPartBlock,
                        stream.handle());
  };
  if (reducer == nullptr) return add({0, values.numel()});
  fill_zero(sums, stream);
  for (const Range& range : reducer->owned()) add(range);
  comm.all_reduce(sums, ReduceOp::kSum, stream);
}

}  // namespace phalanx
