// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>

#include "common/gemm_own.hpp"
#include "common/gemm_vendor.hpp"
#include "device/stream.hpp"

namespace phalanx {

/// One product by those kernels that BackendOptions::gemm names:
///   own     ours, cut as a rough model says, always alike; the vendor's library is not touched
///   vendor  what cuBLASLt offers first, or ours where it offers nothing
///   auto    what takes least time when this is made, of ours and of what cuBLASLt offers
/// f32 operands count as tf32 where BackendOptions::tf32 says so.
class GemmPlan {
 public:
  GemmPlan() = default;
  /// Throws    InvalidArgument for sizes from 2^31 on; DeviceError.
  GemmPlan(GemmProblem problem, Device device);

  explicit operator bool() const noexcept { return own_ || vendor_; }
  std::size_t workspace_bytes() const noexcept;
  /// `name` as for launch().
  void run(const char* name, const GemmOperands& operands, std::byte* workspace,
           const Stream& stream);

 private:
  void choose_fastest(const GemmProblem& problem, Device device,
                      std::vector<std::unique_ptr<GemmVendor>> offers);

  std::optional<GemmOwn> own_;
  std::unique_ptr<GemmVendor> vendor_;
};

}  // namespace phalanx
