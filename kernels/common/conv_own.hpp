// SPDX-License-Identifier: Apache-2.0
/// Convolutions on a GPU by kernels of this program: implicit matrix products, and direct sums where a product would multiply
/// zeros for the most part. The operator `conv` prepares these objects once and runs them many times.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.hpp"
#include "device/backend.hpp"

namespace phalanx {

/// Where the elements of an image batch lie, in elements. Channel c of a pixel is at c / block * block_stride + c % block.
struct ConvImage {
  std::int64_t image_stride = 0;
  int channels = 0, height = 0, width = 0;
  int row_stride = 0, pixel_stride = 0;
  int block = 1, block_stride = 0;

  /// Whether `count` neighbouring channels, the first a multiple of `count`, lie side by side and aligned to their size.
  bool has_runs_of(int count) const noexcept { return block % count == 0; }
  bool is_channels_last() const noexcept { return block == channels; }
};

/// One axis of a convolution.
struct ConvAxis {
  int in = 1, out = 1;
  int kernel = 1, stride = 1, dilation = 1, pad = 0, pad_end = 0;
  int period = 1;  ///< stride / gcd(stride, dilation)
};

/// A convolution as kernels see it; `type` is that of x and y.
struct ConvShape {
  int images = 0, group = 1;
  ConvAxis h, w;
  ConvImage x, y;
  DType type = DType::kF32;
  bool tf32 = false;

  int c_of_group() const noexcept { return x.channels / group; }
  int o_of_group() const noexcept { return y.channels / group; }
  int cells() const noexcept { return h.kernel * w.kernel; }
  std::int64_t weights() const noexcept {
    return static_cast<std::int64_t>(y.channels) * c_of_group() * cells();
  }
};

namespace conv_own {

/// y from x, or dx from dy: each row of the product is a pixel of the target, gathered from the source.
class Gather {
 public:
  enum class Direction : std::uint8_t { kForward, kBackward };

  Gather(const ConvShape& shape, Direction direction);

  /// Of the weights in the kernel's own order. They begin as zeros, of which `pack` leaves some.
  std::size_t packed_bytes() const noexcept;
  void pack(const float* w, void* packed, BackendStream& stream) const;
  /// `bias` may be null; `relu` is applied to the target.
  void run(const void* source, const void* packed, const float* bias, bool relu, void* target,
           BackendStream& stream) const;

 private:
  ConvShape shape_;
  Direction direction_;
  bool is_direct_;
};

/// dw from x and dy, in f32. The pixels are cut into parts whose sums are added in a fixed order.
class WeightGradient {
 public:
  explicit WeightGradient(const ConvShape& shape);
  std::size_t workspace_bytes() const noexcept;
  void run(const void* x, const void* dy, float* dw, bool adds, std::byte* workspace,
           BackendStream& stream) const;

 private:
  ConvShape shape_;
  bool is_direct_;
  int parts_;
};

/// db from dy, in f32, in two stages.
class BiasGradient {
 public:
  explicit BiasGradient(const ConvShape& shape);
  std::size_t workspace_bytes() const noexcept;
  void run(const void* dy, float* db, bool adds, std::byte* workspace, BackendStream& stream) const;

 private:
  ConvShape shape_;
  int parts_;
};

/// Weights [O, C/G, R, S] in f32 as rows [O][R][S][C/G] of `pitch` elements of a type; what lies between rows stays.
void pack_rows(const ConvShape& shape, const float* w, void* packed, std::int64_t pitch,
               BackendStream& stream);

/// dw[O, C/G, R, S] = (adds: itself +) the sum over parts of sums[part][O][pitch], each row of which is [R][S][C/G].
void unpack_gradient(const ConvShape& shape, const float* sums, int parts, std::int64_t pitch,
                     float* dw, bool adds, BackendStream& stream);

}  // namespace conv_own
}  // namespace phalanx
