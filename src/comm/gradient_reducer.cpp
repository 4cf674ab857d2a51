// SPDX-License-Identifier: Apache-2.0
#include "comm/gradient_reducer.hpp"

#include <algorithm>
#include <chrono>

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

double OverlapTimes::hidden_share() const noexcept {
  if (communication_seconds <= 0) return 0;
  return std::clamp(1 - exposed_seconds / communication_seconds, 0.0, 1.0);
}

GradientReducer::GradientReducer(Communicator& comm, TensorView arena, const Options& options,
                                 Stream& stream)
    : comm_(comm), arena_(arena), options_(options) {
  require(arena.type.dtype == DType::kF32 && arena.shape().rank() == 1,
          fmt::format("expected an arena of type f32 and rank 1, found {}", arena.type.str()));
  if (options_.gradients < 0) options_.gradients = arena.numel();
  require(options_.gradients <= arena.numel(),
          fmt::format("expected an arena of at least {} gradients, found {}", options_.gradients,
                      arena.numel()));
  cut();
  if (!options_.compress) return;
  const TensorType type(DType::kBf16, Shape{options_.gradients});
  rounded_ = {comm.allocate(type.size_bytes(), stream), type};
  residual_ = Tensor({DType::kF32, type.shape}, stream);
  forget_rounding();
}

/// Only buckets of gradients alone are scattered or compressed.
void GradientReducer::cut() {
  require(options_.bucket_bytes >= sizeof(float) && options_.first_bucket_bytes >= sizeof(float),
          fmt::format("expected buckets of at least {} bytes, found {} and {}", sizeof(float),
                      options_.first_bucket_bytes, options_.bucket_bytes));
  const auto elements = [](std::size_t bytes) {
    const auto count = static_cast<std::int64_t>(bytes / sizeof(float));
    return (count + kPartBlock - 1) / kPartBlock * kPartBlock;
  };
  const bool apart = options_.scatter || options_.compress;
  const std::int64_t end = apart ? options_.gradients : arena_.numel();
  ranges_.clear();
  owned_.clear();
  std::int64_t most = elements(options_.first_bucket_bytes);
  for (std::int64_t begin = 0; begin < end; begin = ranges_.back().end) {
    ranges_.push_back({begin, std::min(begin + most, end)});
    most = elements(options_.bucket_bytes);
    if (const Range part = mine(ranges_.back()); options_.scatter && part.size() > 0)
      owned_.push_back(part);
  }
  if (!options_.scatter) owned_.push_back({0, options_.gradients});
  if (end < arena_.numel()) ranges_.push_back({end, arena_.numel()});
}

void GradientReducer::set_bucket_bytes(std::size_t bucket_bytes) {
  options_.bucket_bytes = bucket_bytes;
  cut();
}

Range GradientReducer::mine(const Range& bucket) const noexcept {
  if (!options_.scatter || !is_gradient(bucket)) return bucket;
  const Range part = part_of(bucket.size(), comm_.rank(), comm_.size());
  return {bucket.begin + part.begin, bucket.begin + part.end};
}

TensorView GradientReducer::slice(const Range& range) const noexcept {
  return {arena_.as<float>() + range.begin, {DType::kF32, {range.size()}}};
}
TensorView GradientReducer::rounded_slice(const Range& range) const noexcept {
  return {rounded_.as<Bf16>() + range.begin, {DType::kBf16, {range.size()}}};
}

void GradientReducer::round(const Range& bucket) noexcept {
  const auto* gradients = arena_.as<float>();
  auto* residual = residual_.as<float>().data();
  auto* rounded = rounded_.as<Bf16>();
  for (std::int64_t i = bucket.begin; i < bucket.end; ++i) {
    const float wanted = gradients[i] + residual[i];
    rounded[i] = Bf16(wanted);
    residual[i] = wanted - static_cast<float>(rounded[i]);
  }
}

void GradientReducer::widen(const Range& part) noexcept {
  auto* gradients = arena_.as<float>();
  const auto* rounded = rounded_.as<Bf16>();
  for (std::int64_t i = part.begin; i < part.end; ++i)
    gradients[i] = static_cast<float>(rounded[i]);
}

void GradientReducer::forget_rounding() noexcept {
  if (options_.compress) std::ranges::fill(residual_.as<float>(), 0.0f);
}

void GradientReducer::ready(std::int64_t end, Stream& compute) {
  require(end >= 0 && end <= arena_.numel(),
          fmt::format("expected an end in [0, {}], found {}", arena_.numel(), end));
  start_until(end, compute);
}

Request GradientReducer::start(std::size_t bucket, Stream& compute) {
  const Range& range = ranges_[bucket];
  const bool compress = options_.compress && is_gradient(range);
  if (compress) round(range);
  const TensorView data = compress ? rounded_slice(range) : slice(range);
  std::string label = fmt::format("bucket {}", bucket);
  return options_.scatter && is_gradient(range)
             ? comm_.start_reduce_scatter(data, ReduceOp::kSum, compute, std::move(label))
             : comm_.start_all_reduce(data, ReduceOp::kSum, compute, std::move(label));
}

void GradientReducer::start_until(std::int64_t end, Stream& compute) {
  for (; next_ < ranges_.size() && ranges_[next_].end <= end; ++next_) {
    const auto before = Clock::now();
    pending_.push_back(start(next_, compute));
    starting_.push_back(Clock::now() - before);
    exposed_seconds_ += seconds(starting_.back());
  }
}

OverlapTimes GradientReducer::finish(Stream& compute) {
  start_until(arena_.numel(), compute);
  const auto before = Clock::now();
  OverlapTimes times;
  last_step_.clear();
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const RequestTimes t = comm_.wait(pending_[i]);
    times.communication_seconds += seconds(t.ended - t.begun);
    // What ran while the caller waited, and what ran within the call that started it.
    const double late = std::max(0.0, seconds(t.ended - std::max(t.begun, before)));
    const double inline_part = std::min(seconds(t.ended - t.begun), seconds(starting_[i]));
    last_step_.push_back({t, std::max(late, inline_part)});
    if (options_.compress && is_gradient(ranges_[i])) widen(mine(ranges_[i]));
  }
  starting_.clear();
  times.exposed_seconds = exposed_seconds_ + seconds(Clock::now() - before);
  pending_.clear();
  next_ = 0;
  exposed_seconds_ = 0;
  return times;
}

OverlapTimes GradientReducer::gather(TensorView arena, Stream& stream) {
  OverlapTimes times;
  if (!options_.scatter) return times;
  require(
      arena.type.dtype == DType::kF32 && arena.numel() == options_.gradients,
      fmt::format("expected an arena of {} f32, found {}", options_.gradients, arena.type.str()));
  const auto before = Clock::now();
  std::vector<Request> requests;
  for (const Range& range : ranges_) {
    if (!is_gradient(range)) continue;
    const TensorView bucket{arena.as<float>() + range.begin, {DType::kF32, {range.size()}}};
    requests.push_back(
        comm_.start_all_gather(bucket, stream, fmt::format("bucket {}", requests.size())));
  }
  for (const Request& request : requests) {
    const RequestTimes t = comm_.wait(request);
    times.communication_seconds += seconds(t.ended - t.begun);
  }
  times.exposed_seconds = seconds(Clock::now() - before);
  return times;
}

}  // namespace phalanx
