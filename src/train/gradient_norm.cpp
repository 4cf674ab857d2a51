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

// --- columns of one parameter

namespace {
constexpr std::int64_t kCutSums = 1024;  // of each rank's columns, however many there are
}

CutNorm::CutNorm(const ParameterLayout& layout, const std::string& weight, Communicator& comm,
                 Stream& stream)
    : comm_(comm), stream_(stream) {
  const ParameterSlot& slot = layout.parameter(weight);
  before_ = {0, slot.offset};
  cut_ = {slot.offset, slot.offset + slot.shape.numel()};
  after_ = {layout.parameter_elements(), layout.parameter_elements()};
  for (const ParameterSlot& other : layout.parameters())
    if (other.offset > slot.offset) after_.begin = std::min(after_.begin, other.offset);
  if (stream.device().backend != nullptr)
    mine_ = Tensor({DType::kI64, Shape{kCutSums}}, stream, "the norm of gradients");
}

std::int64_t CutNorm::block_of_cut() const noexcept {
  return std::max(kPartBlock, (cut_.size() + kCutSums - 1) / kCutSums);
}

double CutNorm::norm(ConstTensorView gradients) {
  const auto* v = gradients.as<float>();
  double sum = 0;
  for (const Range& range : {before_, after_})
    for (std::int64_t begin = range.begin; begin < range.end; begin += kPartBlock)
      sum += sum_of_squares(v + begin, std::min(kPartBlock, range.end - begin));
  const double mine = sum_of_squares(v + cut_.begin, cut_.size());
  std::vector<double> all(static_cast<std::size_t>(comm_.size()));
  comm_.all_gather({&mine, {DType::kI64, Shape{1}}},
                   {all.data(), {DType::kI64, Shape{comm_.size(), 1}}}, stream_);
  return std::sqrt(std::accumulate(all.begin(), all.end(), sum));
}

std::int64_t CutNorm::blocks() const noexcept {
  return blocks_of_norm(before_.size()) + blocks_of_norm(after_.size()) + comm_.size() * kCutSums;
}

void CutNorm::add_blocks(ConstTensorView gradients, TensorView sums) {
  DeviceBackend& backend = *stream_.device().backend;
  const auto add = [&](const Range& range, std::int64_t block, void* to) {
    if (range.size() > 0)
      backend.sum_squares(gradients.as<float>() + range.begin, range.size(), block,
                          static_cast<double*>(to), stream_.handle());
  };
  auto* next = static_cast<double*>(sums.data);
  for (const Range& range : {before_, after_}) {
    add(range, kPartBlock, next);
    next += blocks_of_norm(range.size());
  }
  fill_zero(mine_.view(), stream_);
  add(cut_, block_of_cut(), mine_.view().data);
  comm_.all_gather(mine_.view(), {next, {DType::kI64, Shape{comm_.size(), kCutSums}}}, stream_);
}

}  // namespace phalanx
