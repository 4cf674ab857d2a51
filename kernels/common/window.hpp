// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "core/shape.hpp"
#include "op/attributes.hpp"

namespace phalanx {

/// A half-open range of places on one axis.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const noexcept { return end - begin; }
};

/// One axis of a window that slides over an image. Cell k of output o lies at o * stride -
/// pad_begin + k * dilation.
struct WindowAxis {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t pad_begin = 0;
  std::int64_t pad_end = 0;

  std::int64_t start(std::int64_t o) const noexcept { return o * stride - pad_begin; }
  /// From the first cell to one past the last.
  std::int64_t extent() const noexcept { return (kernel - 1) * dilation + 1; }

  /// The cells k of output o that lie in the input; the second also counts those in the padding.
  Range cells(std::int64_t o) const noexcept { return cells_between(o, 0, in); }
  Range padded_cells(std::int64_t o) const noexcept {
    return cells_between(o, -pad_begin, in + pad_end);
  }

  /// The outputs whose windows lie wholly in the input.
  Range inner() const noexcept {
    const std::int64_t begin = std::min(out, (pad_begin + stride - 1) / stride);
    const std::int64_t room = in + pad_begin - extent();
    const std::int64_t end = room < 0 ? 0 : std::min(out, room / stride + 1);
    return {begin, std::max(begin, end)};
  }
  /// Windows follow each other without gap or overlap, and none reaches into padding.
  bool tiles() const noexcept {
    return stride == kernel && dilation == 1 && pad_begin == 0 && out * stride <= in;
  }

 private:
  Range cells_between(std::int64_t o, std::int64_t low, std::int64_t high) const noexcept {
    const std::int64_t at = start(o);
    const std::int64_t begin = at >= low ? 0 : (low - at + dilation - 1) / dilation;
    const std::int64_t end =
        at >= high ? 0 : std::min(kernel, (high - at + dilation - 1) / dilation);
    return {begin, std::max(begin, end)};
  }
};

struct Window2d {
  WindowAxis h, w;
  std::int64_t cells() const noexcept { return h.kernel * w.kernel; }
};

/// The window of a convolution or pooling over images of height x width, from ONNX's attributes
/// strides, pads [top, left, bottom, right], dilations, auto_pad (NOTSET, VALID, SAME_UPPER,
/// SAME_LOWER) and ceil_mode. As in PyTorch and in ONNX since opset 22, ceil_mode drops a last
/// window that would begin in the padding behind the input.
/// Throws    InvalidArgument, beginning with `op`, if an attribute is malformed or no window fits.
Window2d window_2d(std::string_view op, const Attributes& attributes, std::int64_t height,
                   std::int64_t width, const Ints& kernel_shape);

/// The same for pooling: x [N, C, H, W], the attribute kernel_shape is required, and every window
/// must hold at least one cell of the input.
Window2d pool_window(std::string_view op, const Attributes& attributes, const Shape& x);

}  // namespace phalanx
