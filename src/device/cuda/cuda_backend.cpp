// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <vector>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "device/cuda/cuda_sources.hpp"
#include "device/cuda/libraries.hpp"

namespace phalanx {
namespace {

void check(cudaError_t code, std::string_view call) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // it is reported; the next call begins without it
  throw DeviceError(
      fmt::format("{} failed: {} ({})", call, cudaGetErrorString(code), cudaGetErrorName(code)));
}

/// Of a query. It leaves an error behind, which the next check of a launch would find.
bool is_not_ready(cudaError_t code) {
  if (code != cudaErrorNotReady) return false;
  (void)cudaGetLastError();
  return true;
}

void check_work(cudaError_t code, const BackendStream& stream) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();
  throw DeviceError(fmt::format("GPU {} failed: {} ({}); enqueued last: {}", stream.index,
                                cudaGetErrorString(code), cudaGetErrorName(code),
                                stream.last_launches()));
}

/// Calls on a stream make its device the thread's present one.
BackendStream& stream_of(void* handle) { return *static_cast<BackendStream*>(handle); }
cudaStream_t queue_of(void* handle) { return static_cast<cudaStream_t>(stream_of(handle).queue); }
cudaEvent_t event_of(void* handle) { return static_cast<cudaEvent_t>(handle); }

class CudaBackend final : public CudaSources, public CudaLibraries {
 public:
  CudaBackend() {
    const cudaError_t code = cudaGetDeviceCount(&count_);
    if (code == cudaSuccess) return;
    count_ = 0;  // without a driver the call leaves it as it was
    why_none_ = cudaGetErrorString(code);
    (void)cudaGetLastError();
  }

  int count() const noexcept override { return count_; }
  std::string why_none() const override {
    return count_ == 0 && why_none_.empty() ? "no GPU was found" : why_none_;
  }

  GpuInfo info(int index) const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    std::array<char, 32> bus_id{};
    check(cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), index),
          "cudaDeviceGetPCIBusId");
    GpuInfo info{.name = properties.name,
                 .bus_id = bus_id.data(),
                 .major = properties.major,
                 .minor = properties.minor,
                 .multiprocessors = properties.multiProcessorCount};
    check(cudaSetDevice(index), "cudaSetDevice");
    check(cudaMemGetInfo(&info.free_bytes, &info.memory_bytes), "cudaMemGetInfo");
    return info;
  }

  BackendAbout about() const override {
    int driver = 0, runtime = 0;
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    const auto text = [](int version) {
      return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
    };
    return {.versions = fmt::format("driver {}, runtime {}, {}",
                                    driver == 0 ? "none" : "for CUDA " + text(driver),
                                    text(runtime), library_versions())};
  }

  std::size_t choose(int index, const std::string& key,
                     std::span<const Candidate> candidates) override {
    const std::lock_guard lock(choices_mutex_);
    const auto [found, is_new] = choices_.try_emplace(std::to_string(index) + " " + key, 0);
    if (is_new && candidates.size() > 1) found->second = fastest(index, candidates);
    return found->second;
  }

  void* make_stream(int index) override {
    check(cudaSetDevice(index), "cudaSetDevice");
    keep_freed_memory(index);
    cudaStream_t queue = nullptr;
    check(cudaStreamCreateWithFlags(&queue, cudaStreamNonBlocking), "cudaStreamCreate");
    auto* stream = new BackendStream;
    stream->index = index;
    stream->queue = queue;
    stream->backend = this;
    return stream;
  }
  void destroy_stream(void* handle) noexcept override {
    const std::unique_ptr<BackendStream> stream(&stream_of(handle));
    forget(*stream);
    (void)cudaStreamDestroy(static_cast<cudaStream_t>(stream->queue));
  }
  void synchronize(void* handle) override {
    check_work(cudaStreamSynchronize(queue_of(handle)), stream_of(handle));
  }
  bool is_done(void* handle) override {
    const cudaError_t code = cudaStreamQuery(queue_of(handle));
    if (is_not_ready(code)) return false;
    check_work(code, stream_of(handle));
    return true;
  }

  void* make_event(int index, bool is_timed) override {
    check(cudaSetDevice(index), "cudaSetDevice");
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, is_timed ? cudaEventDefault : cudaEventDisableTiming),
          "cudaEventCreate");
    return event;
  }
  void destroy_event(void* event) noexcept override { (void)cudaEventDestroy(event_of(event)); }
  void record(void* event, void* stream) override {
    check(cudaEventRecord(event_of(event), queue_of(stream)), "cudaEventRecord");
  }
  void wait(void* stream, void* event) override {
    check(cudaStreamWaitEvent(queue_of(stream), event_of(event), 0), "cudaStreamWaitEvent");
  }
  bool is_past(void* event) override {
    const cudaError_t code = cudaEventQuery(event_of(event));
    if (is_not_ready(code)) return false;
    check(code, "cudaEventQuery");
    return true;
  }
  double seconds_between(void* begin, void* end) override {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, event_of(begin), event_of(end)),
          "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) / 1000;
  }

  // Of this thread alone: others, such as those that load data, may still allocate and wait.
  void begin_capture(void* stream) override {
    check(cudaStreamBeginCapture(queue_of(stream), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
  }
  void* end_capture(void* stream) override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(queue_of(stream), &graph), "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t code = cudaGraphInstantiateWithFlags(&executable, graph, 0);
    (void)cudaGraphDestroy(graph);
    check(code, "cudaGraphInstantiate");
    return executable;
  }
  void launch_graph(void* graph, void* stream) override {
    stream_of(stream).note("a graph");
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), queue_of(stream)),
          "cudaGraphLaunch");
  }
  void destroy_graph(void* graph) noexcept override {
    (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
  }

  std::byte* allocate(std::size_t size_bytes, void* stream) override {
    void* memory = nullptr;
    const cudaError_t code = cudaMallocAsync(&memory, size_bytes, queue_of(stream));
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      std::size_t free_bytes = 0, all_bytes = 0;
      (void)cudaMemGetInfo(&free_bytes, &all_bytes);
      throw OutOfMemory(
          out_of_memory_text(size_bytes, stream_of(stream).index, free_bytes, all_bytes));
    }
    check(code, "cudaMallocAsync");
    return static_cast<std::byte*>(memory);
  }
  void free(std::byte* memory, void* stream) noexcept override {
    (void)cudaFreeAsync(memory, queue_of(stream));
  }
  std::byte* allocate_pinned(std::size_t size_bytes) override {
    void* memory = nullptr;
    const cudaError_t code = cudaHostAlloc(&memory, size_bytes, cudaHostAllocDefault);
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      throw OutOfMemory(fmt::format("no {} bytes of pinned host memory", size_bytes));
    }
    check(code, "cudaHostAlloc");
    return static_cast<std::byte*>(memory);
  }
  void free_pinned(std::byte* memory) noexcept override { (void)cudaFreeHost(memory); }
  bool pin(std::byte* memory, std::size_t size_bytes) override {
    if (cudaHostRegister(memory, size_bytes, cudaHostRegisterPortable) == cudaSuccess) return true;
    (void)cudaGetLastError();
    return false;
  }
  void unpin(std::byte* memory) noexcept override { (void)cudaHostUnregister(memory); }

  void upload(const std::byte* host, std::byte* device, std::size_t size_bytes,
              void* stream) override {
    check(cudaMemcpyAsync(device, host, size_bytes, cudaMemcpyHostToDevice, queue_of(stream)),
          "cudaMemcpyAsync to the device");
  }
  void download(const std::byte* device, std::byte* host, std::size_t size_bytes,
                void* stream) override {
    check(cudaMemcpyAsync(host, device, size_bytes, cudaMemcpyDeviceToHost, queue_of(stream)),
          "cudaMemcpyAsync to the host");
  }
  void copy(const std::byte* from, std::byte* to, std::size_t size_bytes, void* stream) override {
    check(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDeviceToDevice, queue_of(stream)),
          "cudaMemcpyAsync on the device");
  }

  void fill_zero(std::byte* memory, std::size_t size_bytes, void* stream) override {
    check(cudaMemsetAsync(memory, 0, size_bytes, queue_of(stream)), "cudaMemsetAsync");
  }

 private:
  /// By the best of several runs, each of which is long enough to be timed.
  std::size_t fastest(int index, std::span<const Candidate> candidates) {
    constexpr int kRounds = 5, kRunsPerRound = 4;
    void* handle = make_stream(index);
    cudaEvent_t begin = nullptr, end = nullptr;
    check(cudaEventCreate(&begin), "cudaEventCreate");
    check(cudaEventCreate(&end), "cudaEventCreate");
    std::vector<float> best(candidates.size(), std::numeric_limits<float>::max());
    for (int round = -1; round < kRounds; ++round) {  // the first warms up
      for (std::size_t c = 0; c < candidates.size(); ++c) {
        check(cudaEventRecord(begin, queue_of(handle)), "cudaEventRecord");
        for (int run = 0; run < kRunsPerRound; ++run) candidates[c](stream_of(handle));
        check(cudaEventRecord(end, queue_of(handle)), "cudaEventRecord");
        synchronize(handle);
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
        if (round >= 0) best[c] = std::min(best[c], milliseconds);
      }
    }
    (void)cudaEventDestroy(begin);
    (void)cudaEventDestroy(end);
    destroy_stream(handle);
    return static_cast<std::size_t>(std::ranges::min_element(best) - best.begin());
  }

  // By default a pool gives back what was freed whenever a stream is waited for, and the next request asks the driver again.
  static void keep_freed_memory(int index) {
    cudaMemPool_t pool = nullptr;
    check(cudaDeviceGetDefaultMemPool(&pool, index), "cudaDeviceGetDefaultMemPool");
    std::uint64_t threshold = std::numeric_limits<std::uint64_t>::max();
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold),
          "cudaMemPoolSetAttribute");
  }

  int count_ = 0;
  std::string why_none_;
  std::mutex choices_mutex_;
  std::map<std::string, std::size_t> choices_;
};

}  // namespace

CudaLibraries& cuda_libraries(DeviceBackend& backend) { return static_cast<CudaBackend&>(backend); }

}  // namespace phalanx

extern "C" phalanx::DeviceBackend* phalanx_make_backend(int version) {
  return version == phalanx::DeviceBackend::kVersion ? new phalanx::CudaBackend : nullptr;
}
