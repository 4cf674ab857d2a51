// SPDX-License-Identifier: Apache-2.0
#include "formats/checkpoint_writer.hpp"

#include <chrono>
#include <cstring>
#include <utility>

#include "core/log.hpp"

namespace phalanx {
namespace {

constexpr double kWorthAWarning = 0.1;  // seconds

}  // namespace

CheckpointWriter::CheckpointWriter(CheckpointFolder folder, const Options& options)
    : folder_(std::move(folder)), options_(options) {
  if (options_.has_thread) thread_ = std::thread([this] { run(); });
}

CheckpointWriter::~CheckpointWriter() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  try {
    rethrow_failure();
  } catch (const std::exception& e) {
    log_error("{}", e.what());
  }
}

void CheckpointWriter::reserve(const std::vector<CheckpointEntry>& entries) {
  std::size_t size_bytes = 0;
  for (const CheckpointEntry& entry : entries) size_bytes += align_up(entry.data.type.size_bytes());
  if (!options_.has_thread || size_bytes <= memory_.size_bytes()) return;
  memory_ = Buffer();
  memory_ = Buffer(size_bytes, host_);
  std::memset(memory_.data(), 0, size_bytes);  // its pages are there from now on
}

void CheckpointWriter::save(CheckpointContent content) {
  if (!options_.has_thread) return write(content);
  std::unique_lock lock(mutex_);
  wait_until_idle(lock);
  rethrow_failure();
  reserve(content.entries);
  copies_.clear();
  std::byte* place = memory_.data();
  for (CheckpointEntry& entry : content.entries) {
    const std::size_t size_bytes = entry.data.type.size_bytes();
    if (!entry.changes_early)
      copies_.push_back({entry.data.data, place, size_bytes});
    else if (size_bytes > 0)
      std::memcpy(place, entry.data.data, size_bytes);
    entry.data.data = place;
    place += align_up(size_bytes);
  }
  content_ = std::move(content);
  stage_ = Stage::kCopying;
  changed_.notify_all();
}

void CheckpointWriter::wait_until_copied() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stage_ != Stage::kCopying; });
  rethrow_failure();
}

bool CheckpointWriter::finish_within(double seconds) {
  std::unique_lock lock(mutex_);
  const bool is_idle = changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                                         [this] { return stage_ == Stage::kIdle; });
  rethrow_failure();
  return is_idle;
}

void CheckpointWriter::wait_until_idle(std::unique_lock<std::mutex>& lock) {
  if (stage_ == Stage::kIdle) return;
  const auto begin = std::chrono::steady_clock::now();
  changed_.wait(lock, [this] { return stage_ == Stage::kIdle; });
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
  if (waited.count() > kWorthAWarning && !std::exchange(has_warned_, true))
    log_warning(
        "waited {:.1f} s until the checkpoint of step {} was on disk, before the next could begin; "
        "checkpoints come faster than they can be written",
        waited.count(), content_.step);
}

void CheckpointWriter::rethrow_failure() {
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void CheckpointWriter::write(const CheckpointContent& content) const {
  if (content.is_best) write_checkpoint(folder_.best_path(), content.run, content.entries);
  if (!content.is_numbered) return;
  write_checkpoint(folder_.path_of_step(content.step), content.run, content.entries);
  folder_.prune(options_.keep, content.step);
}

void CheckpointWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return is_stopping_ || stage_ == Stage::kCopying; });
    if (stage_ != Stage::kCopying) return;
    lock.unlock();
    for (const Copy& copy : copies_)
      if (copy.size_bytes > 0) std::memcpy(copy.to, copy.from, copy.size_bytes);
    lock.lock();
    stage_ = Stage::kWriting;
    changed_.notify_all();
    lock.unlock();
    std::exception_ptr failure;
    try {
      write(content_);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    stage_ = Stage::kIdle;
    changed_.notify_all();
  }
}

}  // namespace phalanx
