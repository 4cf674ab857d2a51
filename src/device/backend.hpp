// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/dtype.hpp"

namespace phalanx {

class DeviceBackend;

/// What is known of one GPU.
struct GpuInfo {
  std::string name;
  std::string
      bus_id;  ///< PCI: the same for all ranks that see this GPU, whatever its index is to them
  std::size_t memory_bytes = 0, free_bytes = 0;
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 1;
};

/// What the handle of a stream points to, whatever the backend.
struct BackendStream {
  int index = 0;          ///< of its device
  void* queue = nullptr;  ///< a cudaStream_t
  DeviceBackend* backend = nullptr;

  /// Remembers the name of what was enqueued, a literal: errors of a device surface later.
  void note(const char* name) noexcept { names_[count_++ % names_.size()] = name; }
  /// "relu_forward, add_forward": what was enqueued last, oldest first.
  std::string last_launches() const;
  void forget_launches() noexcept { count_ = 0; }

 private:
  std::array<const char*, 8> names_{};
  std::size_t count_ = 0;
};

/// What stands behind a backend, for people who read its figures.
struct BackendAbout {
  std::string versions;     ///< "driver 12.8, runtime 13.0, cuBLASLt 13.0.2, cuDNN 9.13.0"
  bool is_hardware = true;  ///< false: an emulation, whose times say nothing
  bool has_vendor = true;   ///< kernels of libraries of the GPU's maker: KernelChoice::kVendor
};

/// Whose kernels multiply matrices and convolve: ours, those of a library of the GPU's maker, or for each shape those that
/// took less time when a node was prepared.
enum class KernelChoice : std::uint8_t { kAuto, kOwn, kVendor };

/// Set before anything is prepared.
struct BackendOptions {
  KernelChoice gemm = KernelChoice::kAuto;
  KernelChoice conv = KernelChoice::kAuto;
  bool tf32 = false;  ///< products of f32 with 10 bits of mantissa, by tensor cores; sums stay f32
};

/// What a step may not exceed, in memory of the device.
struct StepLimits {
  float samples = 1;     ///< of the global batch
  float loss_limit = 0;  ///< of the mean loss
  float clip_norm = 0;   ///< of the gradients; 0: none
  float padding = 0;
};

/// What became of a step, in memory of the device.
struct StepVerdict {
  float norm = 0;  ///< of the gradients, before clipping
  float gradient_scale =
      0;  ///< min(1, clip_norm / norm); NaN, which keeps optimizers from updating, if the step is bad
  float is_bad = 0;  ///< 1 if mean loss or norm is not finite, or the mean loss above its limit
  float padding = 0;
};

/// One way to do something, for measurements.
using Candidate = std::function<void(BackendStream& stream)>;

/// The half of the program that runs on GPUs: one shared library, opened when a GPU is first asked for, so that a run on CPUs
/// pays nothing for it. Streams, events and memory are handles of the library.
///
/// Threads   as Stream: one thread per stream; different streams by different threads.
/// Throws    DeviceError that names the call and what was enqueued last; OutOfMemory.
class DeviceBackend {
 public:
  /// Changes with every member of this class or of the kernels' table.
  static constexpr int kVersion = 5;
  virtual ~DeviceBackend() = default;

  /// GPUs that this process sees; 0 without a driver.
  virtual int count() const noexcept = 0;
  virtual std::string why_none() const = 0;  ///< in a few words, if count() is 0
  virtual GpuInfo info(int index) const = 0;
  virtual BackendAbout about() const = 0;

  BackendOptions options;

  /// The place of the candidate that takes least time on the device, measured once for a key and remembered. A backend that
  /// cannot measure takes the first. Candidates bring their own memory.
  virtual std::size_t choose(int index, const std::string& key,
                             std::span<const Candidate> candidates) = 0;

  virtual void* make_stream(int index) = 0;  ///< a BackendStream
  virtual void destroy_stream(void* stream) noexcept = 0;
  virtual void synchronize(void* stream) = 0;
  /// Whether all work enqueued so far is done. Never waits; asynchronous errors are thrown here too.
  virtual bool is_done(void* stream) = 0;
  virtual void* make_event(int index, bool is_timed) = 0;
  virtual void destroy_event(void* event) noexcept = 0;
  virtual void record(void* event, void* stream) = 0;  ///< all work enqueued on the stream so far
  virtual void wait(void* stream, void* event) = 0;    ///< later work on the stream, for the event
  virtual bool is_past(void* event) = 0;  ///< whether what was recorded last is done; never waits
  /// Of two timed events that are past.
  virtual double seconds_between(void* begin, void* end) = 0;

  // A graph is what was enqueued while a stream was captured; nothing of that has run. Streams that wait for an event recorded
  // in the capture join it, until the captured stream has waited for all they were given. Addresses and arguments are those of
  // the capture, so what changes lies in device memory or in pinned memory that a copy reads. Within a capture its thread waits
  // for nothing, asks for nothing that has to have run, and neither takes nor frees memory.

  virtual void begin_capture(void* stream) = 0;
  /// By the same thread.
  virtual void* end_capture(void* stream) = 0;
  /// One after the other, and not before what the same graph was launched for last is done.
  virtual void launch_graph(void* graph, void* stream) = 0;
  virtual void destroy_graph(void* graph) noexcept = 0;  ///< once what was launched is done

  /// In the order of the stream, in which it is freed as well.
  virtual std::byte* allocate(std::size_t size_bytes, void* stream) = 0;
  virtual void free(std::byte* memory, void* stream) noexcept = 0;
  /// Host memory that copies to and from the device need not stage.
  virtual std::byte* allocate_pinned(std::size_t size_bytes) = 0;
  virtual void free_pinned(std::byte* memory) noexcept = 0;
  /// Makes host memory that somebody else owns such memory; false where that cannot be.
  virtual bool pin(std::byte* memory, std::size_t size_bytes) = 0;
  virtual void unpin(std::byte* memory) noexcept = 0;
  /// Pinned host memory has to stay as it is until the stream has come past; from other memory the call copies first.
  virtual void upload(const std::byte* host, std::byte* device, std::size_t size_bytes,
                      void* stream) = 0;
  virtual void download(const std::byte* device, std::byte* host, std::size_t size_bytes,
                        void* stream) = 0;
  virtual void copy(const std::byte* from, std::byte* to, std::size_t size_bytes, void* stream) = 0;

  // What arenas need beside operators; all in the order of the stream.

  virtual void fill_zero(std::byte* memory, std::size_t size_bytes, void* stream) = 0;
  /// f32 or bf16 into the other, rounded to nearest even.
  virtual void convert(DType from_type, const void* from, DType to_type, void* to,
                       std::int64_t count, void* stream) = 0;
  virtual void scale(float* values, float factor, std::int64_t count, void* stream) = 0;
  /// rounded[i] = bf16(values[i] + kept[i]); kept[i] becomes what that rounding took.
  virtual void round_with_feedback(const float* values, float* kept, void* rounded,
                                   std::int64_t count, void* stream) = 0;
  /// As combine() of tensor/combine.hpp, whose bits it gives. At most kMostCombined inputs.
  virtual void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
                       std::int64_t count, void* stream) = 0;
  static constexpr std::size_t kMostCombined = 64;
  /// sums[b] = sum of values[i]^2 over block b of `block` elements, in double and in a fixed order.
  virtual void sum_squares(const float* values, std::int64_t count, std::int64_t block,
                           double* sums, void* stream) = 0;

  /// Decides about a step without asking the host: see StepVerdict. `sums`: of sum_squares, `count` of them.
  virtual void judge_step(const StepLimits* limits, const double* sums, std::int64_t count,
                          const float* loss, StepVerdict* verdict, void* stream) = 0;

  /// The operator's kernels, a `const DeviceKernels*` of op/op.hpp; null: it has none here.
  virtual const void* kernels(std::string_view operator_name) const noexcept = 0;
};

/// The text of an OutOfMemory, for backends.
std::string out_of_memory_text(std::size_t wanted_bytes, int index, std::size_t free_bytes,
                               std::size_t all_bytes);

/// Opens a backend and keeps it. Outlives every Device, Stream and Buffer that uses it.
class LoadedBackend {
 public:
  /// `library`: path, or a name that the dynamic linker finds.
  /// Throws    Unsupported naming the library and the reason: it cannot be opened, is none, or is of another version.
  explicit LoadedBackend(const std::string& library);
  LoadedBackend(const LoadedBackend&) = delete;
  LoadedBackend& operator=(const LoadedBackend&) = delete;
  ~LoadedBackend();

  DeviceBackend& get() const noexcept { return *backend_; }

 private:
  void* library_ = nullptr;
  std::unique_ptr<DeviceBackend> backend_;
};

/// What open_cuda_backend found.
struct CudaBackendResult {
  std::unique_ptr<LoadedBackend> backend;  ///< with at least one GPU; null if there is none
  std::string why_none;                    ///< in a few words
};
/// The CUDA half of this program, libphalanx_cuda.so beside it or in ../lib, if this machine has a driver and a GPU. Without a
/// driver nothing large is opened. The environment variable PHALANX_BACKEND names another library instead, for tests.
/// Throws    Unsupported, as LoadedBackend, for the library that PHALANX_BACKEND names.
CudaBackendResult open_cuda_backend();

/// What a backend's library exports under this name: makes the backend, or returns null for another version.
using MakeBackend = DeviceBackend* (*)(int version);
inline constexpr const char* kMakeBackend = "phalanx_make_backend";

}  // namespace phalanx
