// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_plan.hpp"

#include <algorithm>

#include "device/buffer.hpp"

namespace phalanx {
namespace {

/// Bytes from the first to the last element of an operand.
std::size_t extent_bytes(const GemmProblem& p, std::int64_t rows, std::int64_t stride,
                         std::int64_t GemmAxis::*step, DType type) {
  std::int64_t elements = rows * stride;
  for (const GemmAxes* axes : {&p.batches, &p.sums})
    for (int i = 0; i < axes->used; ++i) {
      const GemmAxis& axis = axes->axis[static_cast<std::size_t>(i)];
      elements += (axis.count - 1) * (axis.*step);
    }
  return align_up(static_cast<std::size_t>(elements) * size_bytes(type));
}

/// Operands to measure with, zeros, and a workspace.
class Scratch {
 public:
  Scratch(const GemmProblem& p, Device device, std::size_t workspace_bytes)
      : backend_(*device.backend), stream_(backend_.make_stream(device.index)) {
    const std::size_t a = extent_bytes(p, p.a_along_k ? p.m : p.k, p.a_stride, &GemmAxis::a,
                                       p.type),
                      b = extent_bytes(p, p.b_along_k ? p.n : p.k, p.b_stride, &GemmAxis::b,
                                       p.type),
                      d = extent_bytes(p, p.m, p.d_stride, &GemmAxis::d, p.out_type),
                      c = align_up(static_cast<std::size_t>(p.m * p.c_row + p.n) * sizeof(float));
    const std::size_t all = a + b + c + d + align_up(workspace_bytes);
    try {
      memory_ = backend_.allocate(all, stream_);
      backend_.fill_zero(memory_, all, stream_);
      backend_.synchronize(stream_);
    } catch (...) {
      release();
      throw;
    }
    operands = {.a = memory_,
                .b = memory_ + a,
                .c = reinterpret_cast<const float*>(memory_ + a + b),
                .d = memory_ + a + b + c};
    workspace = memory_ + a + b + c + d;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { release(); }

  GemmOperands operands;
  std::byte* workspace = nullptr;

 private:
  void release() noexcept {
    if (memory_ != nullptr) backend_.free(memory_, stream_);
    backend_.destroy_stream(stream_);
  }

  DeviceBackend& backend_;
  void* stream_;
  std::byte* memory_ = nullptr;
};

}  // namespace

GemmPlan::GemmPlan(GemmProblem problem, Device device) {
  DeviceBackend& backend = *device.backend;
  problem.tf32 = backend.options.tf32 && problem.type == DType::kF32;
  problem = simplified(problem);
  if (problem.is_empty()) {
    own_.emplace(problem, GemmTiling{});
    return;
  }
  std::vector<std::unique_ptr<GemmVendor>> offers;
  if (backend.options.gemm != KernelChoice::kOwn) offers = vendor_gemms(problem, device);
  if (offers.empty())
    own_.emplace(problem, own_tilings(problem, backend.info(device.index).multiprocessors).front());
  else if (backend.options.gemm == KernelChoice::kVendor)
    vendor_ = std::move(offers.front());
  else
    choose_fastest(problem, device, std::move(offers));
}

void GemmPlan::choose_fastest(const GemmProblem& problem, Device device,
                              std::vector<std::unique_ptr<GemmVendor>> offers) {
  constexpr std::size_t kOwn = 3;
  std::vector<GemmOwn> own;
  for (const GemmTiling& tiling :
       own_tilings(problem, device.backend->info(device.index).multiprocessors))
    if (own.size() < kOwn) own.emplace_back(problem, tiling);
  std::size_t workspace_bytes = 0;
  for (const GemmOwn& o : own) workspace_bytes = std::max(workspace_bytes, o.workspace_bytes());
  for (const auto& v : offers) workspace_bytes = std::max(workspace_bytes, v->workspace_bytes());
  std::size_t fastest =
      own.size();  // without memory to measure with: what the library takes for it
  try {
    const Scratch scratch(problem, device, workspace_bytes);
    std::vector<Candidate> candidates;
    for (const GemmOwn& o : own)
      candidates.emplace_back([&](BackendStream& stream) {
        o.run("gemm_candidate", scratch.operands, scratch.workspace, stream);
      });
    for (const auto& v : offers)
      candidates.emplace_back([&](BackendStream& stream) {
        v->run("gemm_candidate", scratch.operands, scratch.workspace, stream);
      });
    fastest = device.backend->choose(device.index, "gemm " + description(problem), candidates);
  } catch (const OutOfMemory&) {
  }
  if (fastest < own.size())
    own_.emplace(own[fastest]);
  else
    vendor_ = std::move(offers[fastest - own.size()]);
}

std::size_t GemmPlan::workspace_bytes() const noexcept {
  if (vendor_) return vendor_->workspace_bytes();
  return own_ ? own_->workspace_bytes() : 0;
}

void GemmPlan::run(const char* name, const GemmOperands& operands, std::byte* workspace,
                   const Stream& stream) {
  auto& queue = *static_cast<BackendStream*>(stream.handle());
  if (vendor_)
    vendor_->run(name, operands, workspace, queue);
  else
    own_->run(name, operands, workspace, queue);
}

}  // namespace phalanx
