// SPDX-License-Identifier: Apache-2.0
// A GPU that is none: the backend's library with the CUDA sources of this build, run on the CPU by kernels/simt.
//
// Nothing runs when it is enqueued, but when somebody waits for it or asks whether it is done, so that what waits for the
// wrong thing computes with what was there before. Environment: PHALANX_EMULATED_GPUS, 1; PHALANX_EMULATED_BYTES of memory
// for all of them, 8 GiB; PHALANX_EMULATED_LIBRARY: see pretended_cublas.cpp.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "device/cuda/cuda_sources.hpp"
#include "emulation/device_memory.hpp"
#include "emulation/emulated_stream.hpp"
#include "emulation/recording.hpp"

namespace phalanx::emulation {
namespace {

std::size_t number_from(const char* variable, std::size_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

using Clock = std::chrono::steady_clock;

struct EmulatedEvent {
  bool is_timed = false;
  std::shared_ptr<EmulatedStream> stream;
  std::size_t count = 0;
  std::shared_ptr<Clock::time_point> when;  // the stream came past
  std::shared_ptr<Recording> recording;     // in which it was recorded
  Recording::Mark mark;
};

struct EmulatedGraph {
  std::shared_ptr<Recording> recording;
  std::vector<std::shared_ptr<EmulatedStream>>
      streams;  // of its branches; the first is the caller's
};

/// The captures of this process: which thread has begun one, and on which streams.
class Captures {
 public:
  void begin(EmulatedStream& stream) {
    refuse("another capture");
    if (stream.recording != nullptr) throw DeviceError("the stream is being captured");
    const std::lock_guard lock(mutex_);
    Capture& capture = captures_[std::this_thread::get_id()];
    capture.recording = std::make_shared<Recording>();
    join(stream, capture);
  }

  /// The recording, and how many streams took part.
  std::shared_ptr<Recording> end(EmulatedStream& stream) {
    Capture capture;
    {
      const std::lock_guard lock(mutex_);
      const auto found = captures_.find(std::this_thread::get_id());
      if (found == captures_.end() || found->second.streams.front().get() != &stream)
        throw DeviceError("the end of a capture that this thread has not begun on this stream");
      capture = std::move(found->second);
      captures_.erase(found);
    }
    for (const auto& joined : capture.streams) joined->recording = nullptr;
    capture.recording->end();
    return capture.recording;
  }

  void record(EmulatedEvent& event, const EmulatedStream& stream) {
    if (event.is_timed)
      throw DeviceError("an event whose time is taken was recorded on a captured stream");
    event = {.recording = stream.recording, .mark = stream.recording->mark(stream.branch)};
  }

  void wait(EmulatedStream& stream, const EmulatedEvent& event) {
    if (event.recording == nullptr)
      throw DeviceError("a captured stream was to wait for an event from before its capture");
    if (event.recording->has_ended())
      throw DeviceError("a stream was to wait for an event of a capture that has ended");
    if (stream.recording == nullptr) {
      const std::lock_guard lock(mutex_);
      for (auto& [thread, capture] : captures_)
        if (capture.recording == event.recording) join(stream, capture);
    }
    if (stream.recording != event.recording)
      throw DeviceError("two captures were to wait for each other");
    stream.recording->wait(stream.branch, event.mark);
  }

  /// Throws    DeviceError if this thread captures.
  void refuse(const std::string& what) const {
    if (const auto recording = of_this_thread())
      throw DeviceError(what + " within a capture of the same thread");
  }
  /// The same for what cannot throw: the capture ends with it.
  void note(const std::string& what) const noexcept {
    if (const auto recording = of_this_thread()) recording->fail(what);
  }

 private:
  struct Capture {
    std::shared_ptr<Recording> recording;
    std::vector<std::shared_ptr<EmulatedStream>> streams;  // first the one that is captured
  };
  static void join(EmulatedStream& stream, Capture& capture) {
    stream.recording = capture.recording;
    stream.branch = capture.recording->add_branch();
    capture.streams.push_back(stream.self);
  }
  std::shared_ptr<Recording> of_this_thread() const {
    const std::lock_guard lock(mutex_);
    const auto found = captures_.find(std::this_thread::get_id());
    return found == captures_.end() ? nullptr : found->second.recording;
  }

  mutable std::mutex mutex_;
  std::map<std::thread::id, Capture> captures_;
};

EmulatedStream& stream_of(void* handle) {
  return *static_cast<EmulatedStream*>(static_cast<BackendStream*>(handle));
}

class EmulatedBackend final : public CudaSources {
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
    return {.versions = "none: emulated on the CPU",
            .is_hardware = false,
            .has_vendor = std::getenv("PHALANX_EMULATED_LIBRARY") != nullptr};
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
  void synchronize(void* stream) override {
    captures_.refuse("a wait of the host for a stream");
    stream_of(stream).run_all();
  }
  bool is_done(void* stream) override {
    captures_.refuse("a question whether a stream is done");
    return stream_of(stream).advance_to(stream_of(stream).added());
  }
  void* make_event(int, bool is_timed) override { return new EmulatedEvent{.is_timed = is_timed}; }
  void destroy_event(void* event) noexcept override { delete static_cast<EmulatedEvent*>(event); }
  void record(void* handle, void* stream) override {
    auto& event = *static_cast<EmulatedEvent*>(handle);
    if (stream_of(stream).recording != nullptr) return captures_.record(event, stream_of(stream));
    auto when = std::make_shared<Clock::time_point>();
    stream_of(stream).add([when] { *when = Clock::now(); });
    event = {event.is_timed, stream_of(stream).self, stream_of(stream).added(), when, nullptr, {}};
  }
  void wait(void* stream, void* event) override {
    const EmulatedEvent at = *static_cast<EmulatedEvent*>(event);
    if (at.recording != nullptr || (at.stream != nullptr && stream_of(stream).recording != nullptr))
      return captures_.wait(stream_of(stream), at);
    if (at.stream == nullptr || at.stream.get() == &stream_of(stream)) return;
    stream_of(stream).add_polled([at] { return at.stream->advance_to(at.count); });
  }
  bool is_past(void* event) override {
    captures_.refuse("a question whether an event is past");
    const EmulatedEvent& at = *static_cast<EmulatedEvent*>(event);
    if (at.recording != nullptr)
      throw DeviceError("a question whether an event is past that was recorded in a capture");
    return at.stream == nullptr || at.stream->advance_to(at.count);
  }
  double seconds_between(void* begin, void* end) override {
    const auto& [from, to] =
        std::pair(static_cast<EmulatedEvent*>(begin), static_cast<EmulatedEvent*>(end));
    if (!is_past(begin) || !is_past(end) || from->stream == nullptr || to->stream == nullptr)
      throw DeviceError("the time between events that are not past");
    return std::chrono::duration<double>(*to->when - *from->when).count();
  }

  void begin_capture(void* stream) override { captures_.begin(stream_of(stream)); }
  void* end_capture(void* stream) override {
    auto graph = std::make_unique<EmulatedGraph>();
    graph->recording = captures_.end(stream_of(stream));
    graph->streams.push_back(nullptr);
    while (graph->streams.size() < graph->recording->branches())
      graph->streams.push_back(
          std::make_shared<EmulatedStream>(stream_of(stream).index, this, memory_));
    return graph.release();
  }
  void launch_graph(void* handle, void* stream) override {
    captures_.refuse("a launch of a graph");
    const EmulatedGraph& graph = *static_cast<EmulatedGraph*>(handle);
    std::vector<std::shared_ptr<EmulatedStream>> streams = graph.streams;
    streams.front() = stream_of(stream).self;
    graph.recording->enqueue(streams);
  }
  void destroy_graph(void* graph) noexcept override { delete static_cast<EmulatedGraph*>(graph); }

  std::byte* allocate(std::size_t size_bytes, void* stream) override {
    captures_.refuse("a request for memory");
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
    captures_.note("memory was freed");
    stream_of(stream).add([this, memory] { memory_.free(memory); });
  }
  std::byte* allocate_pinned(std::size_t size_bytes) override {
    captures_.refuse("a request for pinned memory");
    const std::lock_guard lock(mutex_);
    auto* memory = static_cast<std::byte*>(std::malloc(size_bytes));
    pinned_.emplace(memory, size_bytes);
    return memory;
  }
  void free_pinned(std::byte* memory) noexcept override {
    captures_.note("pinned memory was freed");
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
    captures_.refuse("a copy from host memory that is not pinned");
    std::vector<std::byte> bytes(host, host + size_bytes);
    stream_of(stream).add(
        [=, bytes = std::move(bytes)] { std::memcpy(device, bytes.data(), bytes.size()); });
  }
  void download(const std::byte* device, std::byte* host, std::size_t size_bytes,
                void* stream) override {
    const bool waits = !is_pinned(host);
    if (waits) captures_.refuse("a copy to host memory that is not pinned");
    stream_of(stream).add([=] { std::memcpy(host, device, size_bytes); });
    if (waits) stream_of(stream).run_all();
  }
  void copy(const std::byte* from, std::byte* to, std::size_t size_bytes, void* stream) override {
    stream_of(stream).add([=] { std::memmove(to, from, size_bytes); });
  }

  void fill_zero(std::byte* memory, std::size_t size_bytes, void* stream) override {
    stream_of(stream).add([=] { std::memset(memory, 0, size_bytes); });
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
  Captures captures_;
  mutable std::mutex mutex_;
  std::map<const std::byte*, std::size_t> pinned_;
};

}  // namespace
}  // namespace phalanx::emulation

extern "C" phalanx::DeviceBackend* phalanx_make_backend(int version) {
  return version == phalanx::DeviceBackend::kVersion ? new phalanx::emulation::EmulatedBackend
                                                     : nullptr;
}
