// SPDX-License-Identifier: Apache-2.0
#include "comm/gradient_reducer.hpp"

#include <algorithm>
#include <chrono>

namespace phalanx {
namespace {

double seconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace

double OverlapTimes::hidden_share() const noexcept {
  if (communication_seconds <= 0) return 0;
  return std::clamp(1 - exposed_seconds / communication_seconds, 0.0, 1.0);
}

GradientReducer::GradientReducer(Communicator& comm, TensorView arena, std::size_t bucket_bytes,
                                 std::size_t first_bucket_bytes)
    : comm_(comm), arena_(arena) {
  require(arena.type.dtype == DType::kF32 && arena.shape().rank() == 1,
          fmt::format("expected an arena of type f32 and rank 1, found {}", arena.type.str()));
  require(bucket_bytes >= sizeof(float) && first_bucket_bytes >= sizeof(float),
          fmt::format("expected buckets of at least {} bytes, found {} and {}", sizeof(float),
                      first_bucket_bytes, bucket_bytes));
  std::size_t bytes = first_bucket_bytes;
  for (std::int64_t end = 0; end < arena_.numel(); bytes = bucket_bytes) {
    end = std::min(end + static_cast<std::int64_t>(bytes / sizeof(float)), arena_.numel());
    ends_.push_back(end);
  }
}

void GradientReducer::ready(std::int64_t end, Stream& compute) {
  require(end >= 0 && end <= arena_.numel(),
          fmt::format("expected an end in [0, {}], found {}", arena_.numel(), end));
  start_until(end, compute);
}

void GradientReducer::start_until(std::int64_t end, Stream& compute) {
  for (; next_ < ends_.size() && ends_[next_] <= end; ++next_) {
    const std::int64_t begin = next_ == 0 ? 0 : ends_[next_ - 1];
    const TensorView bucket{arena_.as<float>() + begin, {DType::kF32, {ends_[next_] - begin}}};
    const auto before = std::chrono::steady_clock::now();
    pending_.push_back(
        comm_.start_all_reduce(bucket, ReduceOp::kSum, compute, fmt::format("bucket {}", next_)));
    starting_.push_back(std::chrono::steady_clock::now() - before);
    exposed_seconds_ += seconds(starting_.back());
  }
}

OverlapTimes GradientReducer::finish(Stream& compute) {
  start_until(arena_.numel(), compute);
  const auto before = std::chrono::steady_clock::now();
  OverlapTimes times;
  last_step_.clear();
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const RequestTimes t = comm_.wait(pending_[i]);
    times.communication_seconds += seconds(t.ended - t.begun);
    // What ran while the caller waited, and what ran within the call that started it.
    const double late = std::max(0.0, seconds(t.ended - std::max(t.begun, before)));
    const double inline_part = std::min(seconds(t.ended - t.begun), seconds(starting_[i]));
    last_step_.push_back({t, std::max(late, inline_part)});
  }
  starting_.clear();
  times.exposed_seconds = exposed_seconds_ + seconds(std::chrono::steady_clock::now() - before);
  pending_.clear();
  next_ = 0;
  exposed_seconds_ = 0;
  return times;
}

}  // namespace phalanx
