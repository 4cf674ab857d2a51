// SPDX-License-Identifier: Apache-2.0
/// Products of matrices by the library of the GPU's maker.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "common/gemm_problem.hpp"
#include "device/backend.hpp"
#include "device/device.hpp"

namespace phalanx {

/// One product by one algorithm of cuBLASLt, ready to run again and again. Not thread-safe.
///
/// Numbers   f32 sums; equal inputs give equal bits. A c that is a row is rounded to the type of d.
/// Operands  begin at multiples of 64 bytes, the workspace at 256.
class GemmVendor {
 public:
  virtual ~GemmVendor() = default;
  virtual std::size_t workspace_bytes() const noexcept = 0;
  /// Notes `name` and "by cuBLASLt".
  /// Throws    DeviceError.
  virtual void run(const char* name, const GemmOperands& operands, std::byte* workspace,
                   BackendStream& stream) = 0;
};

/// What the library offers for a product, the one first that it takes for the fastest. None: it cannot compute this.
/// Throws    DeviceError.
std::vector<std::unique_ptr<GemmVendor>> vendor_gemms(const GemmProblem& problem, Device device);

}  // namespace phalanx
