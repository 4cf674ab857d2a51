// SPDX-License-Identifier: Apache-2.0
#include "comm/gradient_reducer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <string>

#include "device/backend.hpp"

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
    : comm_(comm), arena_(arena), options_(options), stream_(stream) {
  require(arena.type.dtype == DType::kF32 && arena.shape().rank() == 1,
          fmt::format("expected an arena of type f32 and rank 1, found {}", arena.type.str()));
  if (options_.gradients < 0) options_.gradients = arena.numel();
  require(options_.gradients <= arena.numel(),
          fmt::format("expected an arena of at least {} gradients, found {}", options_.gradients,
                      arena.numel()));
  cut_units();
  cut_buckets();
  if (!options_.compress) return;
  const TensorType type(DType::kBf16, Shape{options_.gradients});
  rounded_ = {comm.allocate(type.size_bytes(), stream), type};
  residual_ = Tensor({DType::kF32, type.shape}, stream);
  forget_rounding();
}

void GradientReducer::cut_units() {
  constexpr std::int64_t kLeast = (std::int64_t{1} << 20) / sizeof(float);
  constexpr std::int64_t kBlocksPerRank = 16;  // so that no rank owns much more than another
  unit_ =
      options_.scatter ? std::max(kLeast, comm_.size() * kBlocksPerRank * kPartBlock) : kPartBlock;
  if (!options_.scatter) {
    owned_.push_back({0, options_.gradients});
    return;
  }
  for (std::int64_t begin = 0; begin < options_.gradients; begin += unit_) {
    units_.push_back({begin, std::min(begin + unit_, options_.gradients)});
    const Range part = part_of(units_.back().size(), comm_.rank(), comm_.size());
    if (part.size() > 0) owned_.push_back({begin + part.begin, begin + part.end});
  }
}

/// Only buckets of gradients alone are scattered or compressed.
void GradientReducer::cut_buckets() {
  require(options_.bucket_bytes >= sizeof(float) && options_.first_bucket_bytes >= sizeof(float),
          fmt::format("expected buckets of at least {} bytes, found {} and {}", sizeof(float),
                      options_.first_bucket_bytes, options_.bucket_bytes));
  const auto elements = [&](std::size_t bytes) {
    const auto count = static_cast<std::int64_t>(bytes / sizeof(float));
    return (count + unit_ - 1) / unit_ * unit_;
  };
  const bool apart = options_.scatter || options_.compress;
  const std::int64_t end = apart ? options_.gradients : arena_.numel();
  ranges_.clear();
  std::int64_t most = elements(options_.first_bucket_bytes);
  for (std::int64_t begin = 0; begin < end; begin = ranges_.back().end) {
    ranges_.push_back({begin, std::min(begin + most, end)});
    most = elements(options_.bucket_bytes);
  }
  if (end < arena_.numel()) ranges_.push_back({end, arena_.numel()});
}

void GradientReducer::set_bucket_bytes(std::size_t bucket_bytes) {
  options_.bucket_bytes = bucket_bytes;
  cut_buckets();
}

TensorView GradientReducer::slice(const Range& range) const noexcept {
  return {arena_.as<float>() + range.begin, {DType::kF32, {range.size()}}};
}
TensorView GradientReducer::rounded_slice(const Range& range) const noexcept {
  return {rounded_.as<Bf16>() + range.begin, {DType::kBf16, {range.size()}}};
}

void GradientReducer::round(const Range& bucket, Stream& compute) {
  const auto* gradients = arena_.as<float>();
  auto* residual = residual_.as<float>().data();
  auto* rounded = rounded_.as<Bf16>();
  if (DeviceBackend* backend = compute.device().backend; backend != nullptr)
    return backend->round_with_feedback(gradients + bucket.begin, residual + bucket.begin,
                                        rounded + bucket.begin, bucket.size(), compute.handle());
  for (std::int64_t i = bucket.begin; i < bucket.end; ++i) {
    const float wanted = gradients[i] + residual[i];
    rounded[i] = Bf16(wanted);
    residual[i] = wanted - static_cast<float>(rounded[i]);
  }
}

void GradientReducer::widen(Stream& compute) {
  auto* gradients = arena_.as<float>();
  const auto* rounded = rounded_.as<Bf16>();
  DeviceBackend* backend = compute.device().backend;
  for (const Range& range : owned_) {
    if (backend != nullptr) {
      backend->convert(DType::kBf16, rounded + range.begin, DType::kF32, gradients + range.begin,
                       range.size(), compute.handle());
      continue;
    }
    for (std::int64_t i = range.begin; i < range.end; ++i)
      gradients[i] = static_cast<float>(rounded[i]);
  }
}

void GradientReducer::forget_rounding() {
  if (options_.compress)
    fill_zero(residual_.view().as<std::byte>(), residual_.type().size_bytes(), stream_);
}

void GradientReducer::ready(std::int64_t end, Stream& compute) {
  require(end >= 0 && end <= arena_.numel(),
          fmt::format("expected an end in [0, {}], found {}", arena_.numel(), end));
  require(compute.device() == stream_.device(), "gradients become ready on another device");
  start_until(end, compute);
}

void GradientReducer::start(std::size_t bucket, Stream& compute) {
  const Range& range = ranges_[bucket];
  const bool compress = options_.compress && is_gradient(range);
  if (compress) round(range, compute);
  const auto data = [&](const Range& r) { return compress ? rounded_slice(r) : slice(r); };
  const std::string label = fmt::format("bucket {}", bucket);
  if (!options_.scatter || !is_gradient(range)) {
    pending_.push_back(
        {bucket, comm_.start_all_reduce(data(range), ReduceOp::kSum, compute, label)});
    return;
  }
  comm_.begin_group();
  for (const Range& unit :
       std::span(units_).subspan(static_cast<std::size_t>(range.begin / unit_),
                                 static_cast<std::size_t>((range.size() + unit_ - 1) / unit_)))
    pending_.push_back(
        {bucket, comm_.start_reduce_scatter(data(unit), ReduceOp::kSum, compute, label)});
  comm_.end_group();
}

void GradientReducer::mark(Marks& marks, std::size_t index, Stream& compute) {
  if (compute.device().backend == nullptr || compute.is_captured()) return;
  while (marks.size() <= index)
    marks.push_back(std::make_unique<Event>(compute.device(), Event::Clock::kDevice));
  marks[index]->record(compute);
}

void GradientReducer::start_until(std::int64_t end, Stream& compute) {
  for (; next_ < ranges_.size() && ranges_[next_].end <= end; ++next_) {
    const auto before = Clock::now();
    start(next_, compute);
    starting_.push_back(Clock::now() - before);
    exposed_seconds_ += seconds(starting_.back());
  }
}

OverlapTimes GradientReducer::finish(Stream& compute) {
  start_until(arena_.numel(), compute);
  const auto before = Clock::now();
  OverlapTimes times;
  last_step_.assign(ranges_.size(), {});
  mark(marks_, 0, compute);
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    Pending& pending = pending_[i];
    const RequestTimes t = pending.times = comm_.wait(pending.request);
    if (i + 1 == pending_.size() || pending_[i + 1].bucket != pending.bucket)
      mark(marks_, pending.bucket + 1, compute);
    Bucket& b = last_step_[pending.bucket];
    if (b.times.ended == Clock::time_point{}) b.times = t;
    b.times.ended = t.ended;
    times.communication_seconds += seconds(t.ended - t.begun);
    b.exposed_seconds += std::max(0.0, seconds(t.ended - std::max(t.begun, before)));
  }
  // What ran while the caller waited, or else within the call that started it.
  for (std::size_t i = 0; i < last_step_.size(); ++i) {
    Bucket& b = last_step_[i];
    const double inside = std::min(seconds(b.times.ended - b.times.begun), seconds(starting_[i]));
    b.exposed_seconds = std::max(b.exposed_seconds, inside);
  }
  if (options_.compress) widen(compute);
  times.exposed_seconds = exposed_seconds_ + seconds(Clock::now() - before);
  starting_.clear();
  if (compute.device().backend != nullptr) finished_.swap(pending_);
  pending_.clear();
  gathered_.clear();
  next_ = 0;
  exposed_seconds_ = 0;
  times_ = times;
  if (compute.is_captured()) forget_times();
  return times_;
}

void GradientReducer::forget_times() {
  finished_.clear();
  gathered_.clear();
  last_step_.assign(ranges_.size(), {});
  times_ = {};
}

RequestTimes GradientReducer::measured(const Pending& finished, const RequestTimes& before,
                                       OverlapTimes& times) const {
  const RequestTimes t = comm_.measured(finished.request).value_or(finished.times);
  if (before.begun != t.begun || before.ended != t.ended)
    times.communication_seconds += seconds(t.ended - t.begun);
  return t;
}

OverlapTimes GradientReducer::measure() {
  if (finished_.empty() && gathered_.empty()) return times_;
  OverlapTimes times;
  last_step_.assign(last_step_.size(), {});
  RequestTimes before;
  for (const Pending& finished : finished_) {
    const RequestTimes t = before = measured(finished, before, times);
    Bucket& b = last_step_[finished.bucket];
    if (b.times.ended == Clock::time_point{}) b.times = t;
    b.times.ended = std::max(b.times.ended, t.ended);
  }
  if (!finished_.empty()) {
    for (std::size_t i = 0; i < last_step_.size(); ++i)
      last_step_[i].exposed_seconds = seconds_between(*marks_[i], *marks_[i + 1]);
    times.exposed_seconds = seconds_between(*marks_.front(), *marks_[last_step_.size()]);
  }
  for (const Pending& gathered : gathered_) before = measured(gathered, before, times);
  if (!gathered_.empty())
    times.exposed_seconds += seconds_between(*gather_marks_[0], *gather_marks_[1]);
  finished_.clear();
  gathered_.clear();
  times_ = times;
  return times;
}

OverlapTimes GradientReducer::gather(TensorView arena, Stream& stream) {
  require(
      arena.type.dtype == DType::kF32 && arena.numel() == options_.gradients,
      fmt::format("expected an arena of {} f32, found {}", options_.gradients, arena.type.str()));
  const auto before = Clock::now();
  OverlapTimes times;
  std::vector<Pending> requests;
  mark(gather_marks_, 0, stream);
  comm_.begin_group();
  for (const Range& unit : units_) {
    const TensorView data{arena.as<float>() + unit.begin, {DType::kF32, {unit.size()}}};
    requests.push_back(
        {0, comm_.start_all_gather(data, stream, fmt::format("unit {}", requests.size()))});
  }
  comm_.end_group();
  for (Pending& pending : requests) {
    pending.times = comm_.wait(pending.request);
    times.communication_seconds += seconds(pending.times.ended - pending.times.begun);
  }
  mark(gather_marks_, 1, stream);
  if (stream.is_captured()) return {};
  times.exposed_seconds = seconds(Clock::now() - before);
  times_ += times;
  if (stream.device().backend != nullptr) gathered_.swap(requests);
  return times;
}

void GradientReducer::collect(ConstTensorView mine, TensorView whole, Stream& stream) {
  const Tensor space({DType::kF32, {std::min(unit_, options_.gradients)}}, stream);
  const float* next = mine.as<float>();
  for (const Range& unit : units_) {
    const Range part = part_of(unit.size(), comm_.rank(), comm_.size());
    const TensorView all{space.view().data, {DType::kF32, {unit.size()}}};
    copy_bytes(reinterpret_cast<const std::byte*>(next),
               reinterpret_cast<std::byte*>(all.as<float>() + part.begin),
               static_cast<std::size_t>(part.size()) * sizeof(float), stream);
    next += part.size();
    comm_.wait(comm_.start_all_gather(all, stream, "collect"));
    if (comm_.rank() == 0)
      copy_bytes(all.as<std::byte>(), reinterpret_cast<std::byte*>(whole.as<float>() + unit.begin),
                 all.type.size_bytes(), stream);
  }
}

}  // namespace phalanx
