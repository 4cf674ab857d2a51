// SPDX-License-Identifier: Apache-2.0
// A GPU that is none: the backend's library with the CUDA sources of this build, run on the CPU by kernels/simt.
//
// Nothing runs when it is enqueued, but when somebody waits for it or asks whether it is done, so that what waits for the
// wrong thing computes with what was there before. Environment: PHALANX_EMULATED_GPUS, 1; PHALANX_EMULATED_BYTES of memory
// for all of them, 8 GiB.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "device/cuda/arena_kernels.hpp"
#include "emulation/device_memory.hpp"
#include "emulation/polled_queue.hpp"
#include "simt/engine.hpp"

namespace phalanx::emulation {
namespace {

std::size_t number_from(const char* variable, std::size_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

using Clock = std::chrono::steady_clock;

class EmulatedStream final : public BackendStream, public PolledQueue {
 public:
  std::shared_ptr<EmulatedStream> self;  // until it is destroyed; events keep it longer

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

struct EmulatedEvent {
  std::shared_ptr<EmulatedStream> stream;
  std::size_t count = 0;
  std::shared_ptr<Clock::time_point> when;  // the stream came past
};

EmulatedStream& stream_of(void* handle) {
  return *static_cast<EmulatedStream*>(static_cast<BackendStream*>(handle));
}

class EmulatedBackend final : public DeviceBackend {
 public:
  EmulatedBackend()
      : count_(static_cast<int>(number_from("PHALANX_EMULATED_GPUS", 1))),
        memory_(number_from("PHALANX_EMULATED_BYTES", std::size_t{8} << 30)) {}

  int count() const noexcept override { return count_; }
  std::string why_none() const override { return count_ == 0 ? "none is emulated" : ""; }
  GpuInfo info(int index) const override {
    return {.name = "emulated GPU",
            .bus_id = fmt_bus_id(index),
            .memory_bytes = memory_.capacity_bytes(),
            .free_bytes = memory_.capacity_bytes() - memory_.used_bytes(),
            .major = 8,
            .minor = 0,
            .multiprocessors = 8};
  }

  BackendAbout about() const override {
    return {.versions = "none: emulated on the CPU", .is_hardware = false, .has_vendor = false};
  }

  std::size_t choose(int, const std::string&, std::span<const Candidate>) override { return 0; }

  void* make_stream(int index) override {
    const auto stream = std::make_shared<EmulatedStream>(index, this, memory_);
    stream->self = stream;
    return static_cast<BackendStream*>(stream.get());
  }
  void destroy_stream(void* handle) noexcept override {
    const std::shared_ptr<EmulatedStream> stream = std::move(stream_of(handle).self);
    try {
      stream->run_all();
    } catch (const Error&) {
    }
  }
  void synchronize(void* stream) override { stream_of(stream).run_all(); }
  bool is_done(void* stream) override {
    return stream_of(stream).advance_to(stream_of(stream).added());
  }
  void* make_event(int, bool) override { return new EmulatedEvent; }
  void destroy_event(void* event) noexcept override { delete static_cast<EmulatedEvent*>(event); }
  void record(void* event, void* stream) override {
    auto when = std::make_shared<Clock::time_point>();
    stream_of(stream).add([when] { *when = Clock::now(); });
    *static_cast<EmulatedEvent*>(event) = {stream_of(stream).self, stream_of(stream).added(), when};
  }
  void wait(void* stream, void* event) override {
    const EmulatedEvent at = *static_cast<EmulatedEvent*>(event);
    if (at.stream == nullptr || at.stream.get() == &stream_of(stream)) return;
    stream_of(stream).add_polled([at] { return at.stream->advance_to(at.count); });
  }
  bool is_past(void* event) override {
    const EmulatedEvent& at = *static_cast<EmulatedEvent*>(event);
    return at.stream == nullptr || at.stream->advance_to(at.count);
  }
  double seconds_between(void* begin, void* end) override {
    const auto& [from, to] =
        std::pair(static_cast<EmulatedEvent*>(begin), static_cast<EmulatedEvent*>(end));
    if (!is_past(begin) || !is_past(end) || from->stream == nullptr || to->stream == nullptr)
      throw DeviceError("the time between events that are not past");
    return std::chrono::duration<double>(*to->when - *from->when).count();
  }

  std::byte* allocate(std::size_t size_bytes, void* stream) override {
    std::byte* memory = memory_.allocate(size_bytes);
    if (memory == nullptr) stream_of(stream).run_all();  // frees what waits to be freed
    if (memory == nullptr) memory = memory_.allocate(size_bytes);
    if (memory == nullptr)
      throw OutOfMemory(out_of_memory_text(size_bytes, stream_of(stream).index,
                                           memory_.capacity_bytes() - memory_.used_bytes(),
                                           memory_.capacity_bytes()));
    return memory;
  }
  void free(std::byte* memory, void* stream) noexcept override {
    stream_of(stream).add([this, memory] { memory_.free(memory); });
  }
  std::byte* allocate_pinned(std::size_t size_bytes) override {
    const std::lock_guard lock(mutex_);
    auto* memory = static_cast<std::byte*>(std::malloc(size_bytes));
    pinned_.emplace(memory, size_bytes);
    return memory;
  }
  void free_pinned(std::byte* memory) noexcept override {
    const std::lock_guard lock(mutex_);
    pinned_.erase(memory);
    std::free(memory);
  }

  bool pin(std::byte* memory, std::size_t size_bytes) override {
    const std::lock_guard lock(mutex_);
    return pinned_.emplace(memory, size_bytes).second;
  }
  void unpin(std::byte* memory) noexcept override {
    const std::lock_guard lock(mutex_);
    pinned_.erase(memory);
  }

  void upload(const std::byte* host, std::byte* device, std::size_t size_bytes,
              void* stream) override {
    if (is_pinned(host)) {
      stream_of(stream).add([=] { std::memcpy(device, host, size_bytes); });
      return;
    }
    std::vector<std::byte> bytes(host, host + size_bytes);
    stream_of(stream).add(
        [=, bytes = std::move(bytes)] { std::memcpy(device, bytes.data(), bytes.size()); });
  }
  void download(const std::byte* device, std::byte* host, std::size_t size_bytes,
                void* stream) override {
    stream_of(stream).add([=] { std::memcpy(host, device, size_bytes); });
    if (!is_pinned(host)) stream_of(stream).run_all();
  }
  void copy(const std::byte* from, std::byte* to, std::size_t size_bytes, void* stream) override {
    stream_of(stream).add([=] { std::memmove(to, from, size_bytes); });
  }

  void fill_zero(std::byte* memory, std::size_t size_bytes, void* stream) override {
    stream_of(stream).add([=] { std::memset(memory, 0, size_bytes); });
  }
  void convert(DType from_type, const void* from, DType to_type, void* to, std::int64_t count,
               void* stream) override {
    convert_on_device(from_type, from, to_type, to, count, stream_of(stream));
  }
  void scale(float* values, float factor, std::int64_t count, void* stream) override {
    scale_on_device(values, factor, count, stream_of(stream));
  }
  void judge_step(const StepLimits& limits, const double* sums, std::int64_t count,
                  const float* loss, StepVerdict* verdict, void* stream) override {
    judge_step_on_device(limits, sums, count, loss, verdict, stream_of(stream));
  }
  void round_with_feedback(const float* values, float* kept, void* rounded, std::int64_t count,
                           void* stream) override {
    round_with_feedback_on_device(values, kept, rounded, count, stream_of(stream));
  }
  void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
               std::int64_t count, void* stream) override {
    combine_on_device(op, type, inputs, output, count, stream_of(stream));
  }
  void sum_squares(const float* values, std::int64_t count, std::int64_t block, double* sums,
                   void* stream) override {
    sum_squares_on_device(values, count, block, sums, stream_of(stream));
  }

  const void* kernels(std::string_view operator_name) const noexcept override {
    return cuda_kernels(operator_name);
  }

 private:
  static std::string fmt_bus_id(int index) { return "0000:e" + std::to_string(index) + ":00.0"; }
  bool is_pinned(const std::byte* memory) const {
    const std::lock_guard lock(mutex_);
    const auto next = pinned_.upper_bound(memory);
    if (next == pinned_.begin()) return false;
    const auto& [begin, bytes] = *std::prev(next);
    return memory < begin + bytes;
  }

  int count_;
  DeviceMemory memory_;
  mutable std::mutex mutex_;
  std::map<const std::byte*, std::size_t> pinned_;
};

}  // namespace
}  // namespace phalanx::emulation

extern "C" phalanx::DeviceBackend* phalanx_make_backend(int version) {
  return version == phalanx::DeviceBackend::kVersion ? new phalanx::emulation::EmulatedBackend
                                                     : nullptr;
}
