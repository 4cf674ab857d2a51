// SPDX-License-Identifier: Apache-2.0
// A backend whose device is host memory. It notes every call in the environment variable PHALANX_FAKE_BACKEND_CALLS, so that
// a test can see them across the border of the library.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <set>
#include <string>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

void note(const std::string& call) {
  const char* before = std::getenv("PHALANX_FAKE_BACKEND_CALLS");
  const std::string calls = before == nullptr ? "" : std::string(before) + " ";
  setenv("PHALANX_FAKE_BACKEND_CALLS", (calls + call).c_str(), 1);
}

class FakeBackend final : public DeviceBackend {
 public:
  ~FakeBackend() override { note(memory_.empty() ? "end" : "end-with-memory-left"); }
  int count() const noexcept override { return 2; }
  std::string why_none() const override { return {}; }
  GpuInfo info(int index) const override {
    return {.name = "fake", .bus_id = fmt::format("0000:0{}:00.0", index), .memory_bytes = 1000};
  }
  BackendAbout about() const override { return {.versions = "fake", .is_hardware = false}; }
  std::size_t choose(int, const std::string&, std::span<const Candidate>) override { return 0; }
  void* make_stream(int index) override {
    note(fmt::format("stream-on-{}", index));
    return this;
  }
  void destroy_stream(void*) noexcept override { note("stream-ends"); }
  void synchronize(void*) override { note("synchronize"); }
  bool is_done(void*) override {
    note("is-done");
    return true;
  }
  void* make_event(int, bool) override { return this; }
  void destroy_event(void*) noexcept override {}
  void record(void*, void*) override { note("record"); }
  void wait(void*, void*) override { note("wait"); }
  bool is_past(void*) override { return true; }
  double seconds_between(void*, void*) override { return 0.25; }
  void begin_capture(void*) override { note("begin-capture"); }
  void* end_capture(void*) override {
    note("end-capture");
    return this;
  }
  void launch_graph(void*, void*) override { note("launch"); }
  void destroy_graph(void*) noexcept override { note("graph-ends"); }
  std::byte* allocate(std::size_t size_bytes, void*) override {
    if (size_bytes > info(0).memory_bytes)
      throw OutOfMemory(fmt::format("no {} bytes on the fake device", size_bytes));
    note("allocate");
    auto* memory = static_cast<std::byte*>(::operator new(size_bytes));
    memory_.insert(memory);
    return memory;
  }
  void free(std::byte* memory, void*) noexcept override {
    note(memory_.erase(memory) == 1 ? "free" : "free-of-foreign-memory");
    ::operator delete(memory);
  }
  std::byte* allocate_pinned(std::size_t size_bytes) override {
    note("allocate-pinned");
    return static_cast<std::byte*>(::operator new(size_bytes));
  }
  void free_pinned(std::byte* memory) noexcept override {
    note("free-pinned");
    ::operator delete(memory);
  }
  bool pin(std::byte*, std::size_t size_bytes) override {
    note("pin");
    return size_bytes <= 100;
  }
  void unpin(std::byte*) noexcept override { note("unpin"); }
  void upload(const std::byte* host, std::byte* device, std::size_t size, void*) override {
    note("upload");
    std::memcpy(device, host, size);
  }
  void download(const std::byte* device, std::byte* host, std::size_t size, void*) override {
    note("download");
    std::memcpy(host, device, size);
  }
  void copy(const std::byte* from, std::byte* to, std::size_t size, void*) override {
    std::memmove(to, from, size);
  }
  void fill_zero(std::byte* memory, std::size_t size, void*) override {
    std::memset(memory, 0, size);
  }
  void convert(DType, const void*, DType, void*, std::int64_t, void*) override { note("convert"); }
  void scale(float*, float, std::int64_t, void*) override { note("scale"); }
  void judge_step(const StepLimits*, const double*, std::int64_t, const float*, StepVerdict*,
                  void*) override {
    note("judge-step");
  }
  void round_with_feedback(const float*, float*, void*, std::int64_t, void*) override {
    note("round-with-feedback");
  }
  void combine(ReduceOp, DType, std::span<const void* const>, void*, std::int64_t, void*) override {
    note("combine");
  }
  void sum_squares(const float*, std::int64_t, std::int64_t, double*, void*) override {
    note("sum-squares");
  }
  const void* kernels(std::string_view operator_name) const noexcept override {
    static const DeviceKernels relu{.forward = [](OpContext&, Inputs, Outputs) { note("relu"); }};
    return operator_name == "relu" ? &relu : nullptr;
  }

 private:
  std::set<std::byte*> memory_;
};

}  // namespace
}  // namespace phalanx

extern "C" phalanx::DeviceBackend* phalanx_make_backend(int version) {
  return version == phalanx::DeviceBackend::kVersion ? new phalanx::FakeBackend : nullptr;
}
