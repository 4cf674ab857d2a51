// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <limits>

#include "core/error.hpp"
#include "device/backend.hpp"

namespace phalanx {
namespace {

void check(cudaError_t code, std::string_view call) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // it is reported; the next call begins without it
  throw DeviceError(
      fmt::format("{} failed: {} ({})", call, cudaGetErrorString(code), cudaGetErrorName(code)));
}

/// A stream of one device; calls on it make that device the thread's present one.
struct CudaStream {
  int index = 0;
  cudaStream_t handle = nullptr;
};

CudaStream& stream_of(void* handle) { return *static_cast<CudaStream*>(handle); }
cudaEvent_t event_of(void* handle) { return static_cast<cudaEvent_t>(handle); }

class CudaBackend final : public DeviceBackend {
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
                 .minor = properties.minor};
    check(cudaSetDevice(index), "cudaSetDevice");
    check(cudaMemGetInfo(&info.free_bytes, &info.memory_bytes), "cudaMemGetInfo");
    return info;
  }

  void* make_stream(int index) override {
    check(cudaSetDevice(index), "cudaSetDevice");
    keep_freed_memory(index);
    std::unique_ptr<CudaStream> stream(new CudaStream{index});
    check(cudaStreamCreateWithFlags(&stream->handle, cudaStreamNonBlocking), "cudaStreamCreate");
    return stream.release();
  }
  void destroy_stream(void* handle) noexcept override {
    const std::unique_ptr<CudaStream> stream(&stream_of(handle));
    (void)cudaStreamDestroy(stream->handle);
  }
  void synchronize(void* handle) override {
    check(cudaStreamSynchronize(stream_of(handle).handle), "cudaStreamSynchronize");
  }

  void* make_event(int index) override {
    check(cudaSetDevice(index), "cudaSetDevice");
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    return event;
  }
  void destroy_event(void* event) noexcept override { (void)cudaEventDestroy(event_of(event)); }
  void record(void* event, void* stream) override {
    check(cudaEventRecord(event_of(event), stream_of(stream).handle), "cudaEventRecord");
  }
  void wait(void* stream, void* event) override {
    check(cudaStreamWaitEvent(stream_of(stream).handle, event_of(event), 0), "cudaStreamWaitEvent");
  }

  std::byte* allocate(std::size_t size_bytes, void* stream) override {
    void* memory = nullptr;
    const cudaError_t code = cudaMallocAsync(&memory, size_bytes, stream_of(stream).handle);
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      std::size_t free_bytes = 0, all_bytes = 0;
      (void)cudaMemGetInfo(&free_bytes, &all_bytes);
      throw OutOfMemory(fmt::format(
          "no {} bytes of memory on GPU {}: {} of {} MiB are free; a smaller batch-size, or more "
          "accumulate, takes less",
          size_bytes, stream_of(stream).index, free_bytes >> 20, all_bytes >> 20));
    }
    check(code, "cudaMallocAsync");
    return static_cast<std::byte*>(memory);
  }
  void free(std::byte* memory, void* stream) noexcept override {
    (void)cudaFreeAsync(memory, stream_of(stream).handle);
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

  void upload(const std::byte* host, std::byte* device, std::size_t size_bytes,
              void* stream) override {
    check(
        cudaMemcpyAsync(device, host, size_bytes, cudaMemcpyHostToDevice, stream_of(stream).handle),
        "cudaMemcpyAsync to the device");
  }
  void download(const std::byte* device, std::byte* host, std::size_t size_bytes,
                void* stream) override {
    check(
        cudaMemcpyAsync(host, device, size_bytes, cudaMemcpyDeviceToHost, stream_of(stream).handle),
        "cudaMemcpyAsync to the host");
  }
  void copy(const std::byte* from, std::byte* to, std::size_t size_bytes, void* stream) override {
    check(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDeviceToDevice, stream_of(stream).handle),
          "cudaMemcpyAsync on the device");
  }

  const void* kernels(std::string_view) const noexcept override { return nullptr; }

 private:
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
};

}  // namespace
}  // namespace phalanx

extern "C" phalanx::DeviceBackend* phalanx_make_backend(int version) {
  return version == phalanx::DeviceBackend::kVersion ? new phalanx::CudaBackend : nullptr;
}
