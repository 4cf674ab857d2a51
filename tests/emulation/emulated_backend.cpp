// SPDX-License-Identifier: Apache-2.0
// A GPU that is none: the backend's library with the CUDA sources of this build, run on the CPU by kernels/simt.
//
// Nothing runs when it is enqueued, but when somebody waits for it, so that what waits for the wrong thing computes with what
// was there before. Environment: PHALANX_EMULATED_GPUS, 1; PHALANX_EMULATED_BYTES of memory each, 8 GiB.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "device/cuda/arena_kernels.hpp"
#include "emulation/device_memory.hpp"
#include "simt/engine.hpp"

namespace phalanx::emulation {
namespace {

std::size_t number_from(const char* variable, std::size_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

/// What is enqueued while a stream captures, in the order of the calls.
struct Recording {
  std::vector<std::function<void()>> work;
  std::vector<class EmulatedStream*> streams;
};

class EmulatedStream final : public BackendStream, public simt::Queue {
 public:
  EmulatedStream(int device, DeviceBackend* owner, DeviceMemory& memory) : memory_(memory) {
    index = device;
    backend = owner;
    queue = static_cast<simt::Queue*>(this);
  }

  void add(std::function<void()> work) override {
    if (recording_ != nullptr) {
      recording_->work.push_back(std::move(work));
      return;
    }
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
    ++added_;
  }
  std::size_t added() const {
    const std::lock_guard lock(mutex_);
    return added_;
  }
  /// Does everything that was added before `count` other things.
  void run_until(std::size_t count) {
    const std::lock_guard running(running_);
    const DeviceMemory::Access access(memory_);
    while (true) {
      std::function<void()> work;
      {
        const std::lock_guard lock(mutex_);
        if (done_ >= count || work_.empty()) return;
        work = std::move(work_.front());
        work_.pop_front();
        ++done_;
      }
      try {
        work();
      } catch (const simt::Error& e) {
        throw DeviceError(std::string("the emulated GPU found an error: ") + e.what() +
                          "; enqueued last: " + last_launches());
      }
    }
  }
  void run_all() {
    require<DeviceError>(recording_ == nullptr, "waiting for a stream while it captures");
    run_until(added());
  }

  /// Of a capture that this stream takes part in; null: none.
  const std::shared_ptr<Recording>& recording() const noexcept { return recording_; }
  void join(std::shared_ptr<Recording> recording) {
    recording->streams.push_back(this);
    recording_ = std::move(recording);
  }
  void leave() noexcept { recording_.reset(); }

 private:
  DeviceMemory& memory_;
  mutable std::mutex mutex_;
  std::mutex running_;
  std::deque<std::function<void()>> work_;
  std::size_t added_ = 0, done_ = 0;
  std::shared_ptr<Recording> recording_;
};

struct EmulatedEvent {
  EmulatedStream* stream = nullptr;
  std::size_t count = 0;
  std::shared_ptr<Recording> recording;
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
            .minor = 0};
  }

  std::size_t choose(int, const std::string&, std::span<const Candidate>) override { return 0; }

  void* make_stream(int index) override {
    return static_cast<BackendStream*>(new EmulatedStream(index, this, memory_));
  }
  void destroy_stream(void* handle) noexcept override {
    const std::unique_ptr<EmulatedStream> stream(&stream_of(handle));
    try {
      stream->run_all();
    } catch (const Error&) {
    }
  }
  void synchronize(void* stream) override { stream_of(stream).run_all(); }
  void* make_event(int) override { return new EmulatedEvent; }
  void destroy_event(void* event) noexcept override { delete static_cast<EmulatedEvent*>(event); }
  void record(void* event, void* stream) override {
    *static_cast<EmulatedEvent*>(event) = {&stream_of(stream), stream_of(stream).added(),
                                           stream_of(stream).recording()};
  }
  void wait(void* stream, void* event) override {
    const EmulatedEvent at = *static_cast<EmulatedEvent*>(event);
    if (at.stream == nullptr || at.stream == &stream_of(stream)) return;
    if (at.recording != nullptr) {  // what it recorded stands before what follows
      if (stream_of(stream).recording() == nullptr) stream_of(stream).join(at.recording);
      return;
    }
    require<DeviceError>(stream_of(stream).recording() == nullptr,
                         "a capture waits for an event from outside of it");
    stream_of(stream).add([at] { at.stream->run_until(at.count); });
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
  void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
               std::int64_t count, void* stream) override {
    combine_on_device(op, type, inputs, output, count, stream_of(stream));
  }
  void sum_squares(const float* values, std::int64_t count, std::int64_t block, double* sums,
                   void* stream) override {
    sum_squares_on_device(values, count, block, sums, stream_of(stream));
  }

  void begin_capture(void* stream) override {
    stream_of(stream).join(std::make_shared<Recording>());
  }
  void* end_capture(void* stream) override {
    const std::shared_ptr<Recording> recording = stream_of(stream).recording();
    require<DeviceError>(recording != nullptr, "no capture has begun");
    for (EmulatedStream* s : recording->streams) s->leave();
    return new std::vector(std::move(recording->work));
  }
  void launch_graph(void* graph, void* stream) override {
    const auto& work = *static_cast<std::vector<std::function<void()>>*>(graph);
    for (const std::function<void()>& item : work) stream_of(stream).add(item);
  }
  void destroy_graph(void* graph) noexcept override {
    delete static_cast<std::vector<std::function<void()>>*>(graph);
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
