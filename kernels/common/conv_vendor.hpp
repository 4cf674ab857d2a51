// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/conv_own.hpp"
#include "device/backend.hpp"
#include "device/device.hpp"

namespace phalanx {

enum class ConvPart : std::uint8_t { kForward, kBackwardX, kBackwardW };

/// One part of a convolution by a library of the GPU's maker, planned once. Images are channels last, weights are rows
/// [O][R][S][C/G] without gaps.
class ConvVendor {
 public:
  virtual ~ConvVendor() = default;
  virtual std::size_t workspace_bytes() const noexcept = 0;
  /// kForward    y from x, w of x's type, and the bias if one was announced
  /// kBackwardX  dx from dy and w
  /// kBackwardW  dw in f32 from x and dy
  /// Throws    DeviceError.
  virtual void run(const void* first, const void* second, const float* bias, void* result,
                   std::byte* workspace, BackendStream& stream) = 0;
};

/// Up to `most` ways, those first that the library takes for the faster ones. None if it is not there, or has nothing
/// deterministic for this.
/// Throws    DeviceError if the library cannot be opened.
std::vector<std::unique_ptr<ConvVendor>> make_conv_vendors(const ConvShape& shape, ConvPart part,
                                                           bool has_bias, std::size_t most,
                                                           const Device& device);

}  // namespace phalanx
