// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "emulation/device_memory.hpp"
#include "emulation/polled_queue.hpp"
#include "emulation/recording.hpp"
#include "simt/engine.hpp"

namespace phalanx::emulation {

/// A stream whose work is done when somebody waits for it or asks whether it is done. While it is captured, what is added goes
/// into a recording instead.
class EmulatedStream final : public BackendStream, public PolledQueue {
 public:
  std::shared_ptr<EmulatedStream> self;  // until it is destroyed; events keep it longer
  std::shared_ptr<Recording> recording;  // while it is captured
  std::size_t branch = 0;                // of the recording

  EmulatedStream(int device, DeviceBackend* owner, DeviceMemory& memory) : memory_(memory) {
    index = device;
    backend = owner;
    queue = static_cast<simt::Queue*>(this);
  }

  void add(std::function<void()> work) override {
    add_polled([work = std::move(work)] {
      work();
      return true;
    });
  }
  void add_polled(std::function<bool()> work) override {
    if (recording != nullptr) return recording->add(branch, std::move(work));
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
    ++added_;
  }
  void advance() override { (void)advance_to(added()); }
  std::size_t added() const {
    const std::lock_guard lock(mutex_);
    return added_;
  }
  /// Does what was added before `count` other things, as far as nothing has to be waited for. Whether all of it is done.
  bool advance_to(std::size_t count) {
    if (!begin(count)) return is_done_to(count);
    const End end(*this);
    const DeviceMemory::Access access(memory_);
    while (std::function<bool()>* work = next(count)) {
      bool is_done = true;
      try {
        is_done = (*work)();
      } catch (const simt::Error& e) {
        remove_first();
        throw DeviceError(std::string("the emulated GPU found an error: ") + e.what() +
                          "; enqueued last: " + last_launches());
      } catch (...) {
        remove_first();
        throw;
      }
      if (!is_done) return false;
      remove_first();
    }
    return true;
  }
  void run_all() {
    const std::size_t count = added();
    while (!advance_to(count)) std::this_thread::sleep_for(std::chrono::microseconds(20));
  }

 private:
  struct End {
    explicit End(EmulatedStream& of) : stream(of) {}
    End(const End&) = delete;
    End& operator=(const End&) = delete;
    ~End() {
      const std::lock_guard lock(stream.mutex_);
      stream.is_running_ = false;
    }
    EmulatedStream& stream;
  };

  // One thread at a time. One that comes back to a stream it is running, since streams wait for each other, turns away too.
  bool begin(std::size_t count) {
    const std::lock_guard lock(mutex_);
    if (is_running_ || done_ >= count) return false;
    is_running_ = true;
    return true;
  }
  bool is_done_to(std::size_t count) const {
    const std::lock_guard lock(mutex_);
    return done_ >= count;
  }
  std::function<bool()>* next(std::size_t count) {
    const std::lock_guard lock(mutex_);
    return done_ >= count || work_.empty() ? nullptr : &work_.front();
  }
  void remove_first() {
    std::function<bool()> removed;  // ends when the lock is gone
    const std::lock_guard lock(mutex_);
    removed = std::move(work_.front());
    work_.pop_front();
    ++done_;
  }

  DeviceMemory& memory_;
  mutable std::mutex mutex_;
  std::deque<std::function<bool()>> work_;
  std::size_t added_ = 0, done_ = 0;
  bool is_running_ = false;
};

}  // namespace phalanx::emulation
