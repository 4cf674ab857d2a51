// SPDX-License-Identifier: Apache-2.0
#include "data/loader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "core/error.hpp"

namespace phalanx {
namespace {

std::size_t bytes_of(std::int64_t rows, std::int64_t values, std::size_t value_bytes) {
  const Shape shape{rows, values};  // refuses a product that does not fit
  std::size_t total = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(shape.numel()), value_bytes, &total))
    throw OutOfMemory(fmt::format("a batch of {} x {} values does not fit 64 bits", rows, values));
  return total;
}

}  // namespace

Loader::Loader(RowSource& source, const Sampler& sampler, const TransformOptions& transforms,
               std::int64_t prefetch, Device device)
    : source_(source),
      sampler_(sampler),
      transform_(source.info(), transforms, sampler.options().seed),
      columns_{0, transform_.sample_numel()},
      is_cut_(sampler.options().partition == Partition::kColumn) {
  const SamplerOptions& o = sampler_.options();
  const DatasetInfo& info = source_.info();
  if (o.rows != source_.size())
    throw InvalidArgument(
        fmt::format("the sampler counts {} rows, the data set has {}", o.rows, source_.size()));
  constexpr std::int64_t kMostPrefetched = 1024;
  if (prefetch < 0 || prefetch > kMostPrefetched)
    throw InvalidArgument(
        fmt::format("prefetch: expected 0 to {} batches, found {}", kMostPrefetched, prefetch));
  if (is_cut_) columns_ = columns(transform_.sample_numel(), o.rank, o.size);

  const std::int64_t rows = sampler_.max_rows();
  const bool classes = info.target == TargetKind::kClass;
  stored_ = Buffer(bytes_of(rows, transform_.sample_numel(), size_bytes(info.x_dtype)), host_);
  if (is_cut_) sample_ = Buffer(bytes_of(1, transform_.sample_numel(), sizeof(float)), host_);
  slots_.resize(static_cast<std::size_t>(prefetch) + 1);
  for (Slot& slot : slots_) {
    slot.x = PinnedBuffer(bytes_of(rows, columns_.size(), sizeof(float)), device);
    slot.y = PinnedBuffer(classes ? bytes_of(rows, 1, sizeof(std::int64_t))
                                  : bytes_of(rows, info.targets, sizeof(float)),
                          device);
    slot.batch.slice.rows.reserve(static_cast<std::size_t>(rows));
  }
}

Loader::~Loader() { end(); }

void Loader::begin(std::int64_t epoch, std::int64_t step, std::int64_t end_epoch) {
  end();
  if (epoch < 0 || step < 0 || step >= sampler_.steps_per_epoch() || end_epoch <= epoch)
    throw InvalidArgument(fmt::format("no batch at epoch {} of {}, step {} of {}", epoch, end_epoch,
                                      step, sampler_.steps_per_epoch()));
  position_ = {epoch, step, 0};
  end_epoch_ = end_epoch;
  prepared_ = 0;
  taken_ = 0;
  is_holding_ = false;
  is_finished_ = false;
  is_stopping_ = false;
  failure_ = nullptr;
  if (slots_.size() > 1)
    thread_ = std::thread([this, at = position_, end_epoch] { run(at, end_epoch); });
  is_begun_ = true;
}

void Loader::end() noexcept {
  is_begun_ = false;
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

const Batch& Loader::next() {
  if (!is_begun_) throw InvalidArgument("Loader::next() before begin()");
  const auto start = std::chrono::steady_clock::now();
  // Counts the time of a call that throws as well.
  struct Timer {
    std::chrono::steady_clock::time_point start;
    double& total;
    ~Timer() {
      total += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
  } timer{start, wait_seconds_};
  return wait_for_slot().batch;
}

Loader::Slot& Loader::wait_for_slot() {
  constexpr const char* kNoMore = "Loader::next() after the last batch";
  if (slots_.size() == 1) {
    if (position_.epoch >= end_epoch_) throw InvalidArgument(kNoMore);
    if (failure_) std::rethrow_exception(failure_);
    try {
      prepare(position_, slots_[0]);
    } catch (...) {
      failure_ = std::current_exception();
      throw;
    }
    advance(position_);
    return slots_[0];
  }
  std::unique_lock lock(mutex_);
  is_holding_ = false;
  changed_.notify_all();
  changed_.wait(lock, [this] { return prepared_ > taken_ || is_finished_; });
  if (prepared_ == taken_) {
    if (failure_) std::rethrow_exception(failure_);
    throw InvalidArgument(kNoMore);
  }
  is_holding_ = true;
  return slots_[static_cast<std::size_t>(taken_++) % slots_.size()];
}

void Loader::run(Position at, std::int64_t end_epoch) {
  const auto slots = static_cast<std::int64_t>(slots_.size());
  std::unique_lock lock(mutex_);
  while (at.epoch < end_epoch) {
    changed_.wait(
        lock, [&] { return is_stopping_ || prepared_ - taken_ + (is_holding_ ? 1 : 0) < slots; });
    if (is_stopping_) return;
    Slot& slot = slots_[static_cast<std::size_t>(prepared_ % slots)];
    lock.unlock();
    std::exception_ptr failure;
    try {
      prepare(at, slot);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) {
      failure_ = failure;
      break;
    }
    ++prepared_;
    advance(at);
    changed_.notify_all();
  }
  is_finished_ = true;
  changed_.notify_all();
}

void Loader::advance(Position& at) const noexcept {
  if (++at.micro < sampler_.options().micro_batches) return;
  at.micro = 0;
  if (++at.step < sampler_.steps_per_epoch()) return;
  at.step = 0;
  ++at.epoch;
}

void Loader::prepare(Position at, Slot& slot) {
  Batch& batch = slot.batch;
  sampler_.slice(at.epoch, at.step, at.micro, batch.slice);
  const DatasetInfo& info = source_.info();
  const auto rows = static_cast<std::int64_t>(batch.slice.rows.size());
  batch.x = {slot.x.data(), TensorType(DType::kF32, x_shape(rows))};
  batch.y =
      info.target == TargetKind::kClass
          ? ConstTensorView{slot.y.data(), TensorType(DType::kI64, Shape{rows})}
          : ConstTensorView{slot.y.data(), TensorType(DType::kF32, Shape{rows, info.targets})};
  if (rows == 0) return;
  source_.read_rows(batch.slice.rows, stored_.data(), slot.y.data());
  read_x(slot);
  if (transform_.changes_targets())
    transform_.apply_targets(reinterpret_cast<float*>(slot.y.data()), rows);
}

void Loader::read_x(Slot& slot) {
  const BatchSlice& slice = slot.batch.slice;
  const std::size_t stored_bytes =
      static_cast<std::size_t>(transform_.sample_numel()) * size_bytes(source_.info().x_dtype);
  const std::byte* from = stored_.data();
  auto* to = reinterpret_cast<float*>(slot.x.data());
  auto* sample = reinterpret_cast<float*>(sample_.data());
  for (const std::int64_t row : slice.rows) {
    if (is_cut_) {
      transform_.apply(from, row, slice.epoch, sample);
      std::copy(sample + columns_.begin, sample + columns_.end, to);
    } else {
      transform_.apply(from, row, slice.epoch, to);
    }
    from += stored_bytes;
    to += columns_.size();
  }
}

Shape Loader::x_shape(std::int64_t rows) const {
  if (is_cut_) return Shape{rows, columns_.size()};
  const Shape& sample = source_.info().sample;
  std::array<std::int64_t, Shape::kMaxRank> sizes{rows};
  std::copy(sample.sizes().begin(), sample.sizes().end(), sizes.begin() + 1);
  return Shape(
      std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(sample.rank()) + 1));
}

}  // namespace phalanx
