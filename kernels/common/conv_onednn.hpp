// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "common/onednn.hpp"
#include "common/window.hpp"

/// Convolutions as oneDNN sees them; for conv_cpu.cpp alone.
namespace phalanx::conv_onednn {

using dnnl::memory;
using Tag = memory::format_tag;

memory::desc image_desc(const TensorType& type, Tag tag);

/// The names that oneDNN has for the memory of an image. There are several if C = block or H = W =
/// 1, and its fast kernels insist on one of them.
std::vector<Tag> tags_of(const TensorType& type);

/// The channel block of a format that oneDNN chose, if it is one of ours.
std::optional<std::int64_t> block_of(const memory::desc& desc, const TensorType& type);

/// One convolution with its three primitives.
struct Problem {
  Problem(const Window2d& window, std::int64_t group, const TensorType& x, const TensorType& w,
          const TensorType& y, bool bias);

  /// The same for so many images.
  Problem of_images(std::int64_t images) const;
  /// The same by another algorithm.
  Problem by(dnnl::algorithm other) const;

  memory::desc plain_w() const;
  memory::desc any_w(DType type) const { return {w_dims, to_dnnl(type), Tag::any}; }
  memory::desc b() const { return {{y.shape[1]}, memory::data_type::f32, Tag::x}; }

  /// For inference oneDNN transforms weights for Winograd's way once, when they are packed, else in each call.
  dnnl::convolution_forward::primitive_desc forward(
      const memory::desc& xd, const memory::desc& yd,
      dnnl::prop_kind kind = dnnl::prop_kind::forward_inference) const;
  dnnl::convolution_backward_data::primitive_desc backward_data(const memory::desc& xd,
                                                                const memory::desc& yd) const;
  dnnl::convolution_backward_weights::primitive_desc backward_weights(const memory::desc& xd,
                                                                      const memory::desc& yd) const;

  Window2d window;
  std::int64_t group;
  TensorType x, y;
  bool has_bias;
  dnnl::algorithm algorithm = dnnl::algorithm::convolution_direct;
  memory::dims strides, dilations, pads_begin, pads_end, w_dims;
};

/// oneDNN's reference kernels take a thousand times as long, and those by matrix product twice as
/// long as the others; their sums depend on the number of threads besides.
inline bool is_slow(std::string_view implementation) {
  return implementation.starts_with("ref") || implementation.find("gemm") != std::string_view::npos;
}

/// What `make` makes of the formats that x and y have. Where oneDNN has only slow kernels for them,
/// of the channels-last formats: the operands are converted on the way then.
template <class Make>
auto best_of(const Problem& p, Make make) -> decltype(make(memory::desc(), memory::desc())) {
  using Pd = decltype(make(memory::desc(), memory::desc()));
  std::optional<Pd> slow;
  const auto attempt = [&](Tag tx, Tag ty) -> std::optional<Pd> {
    try {
      Pd pd = make(image_desc(p.x, tx), image_desc(p.y, ty));
      if (!is_slow(pd.impl_info_str())) return pd;
      if (!slow) slow = pd;
    } catch (const dnnl::error&) {  // no kernel at all for these formats
    }
    return std::nullopt;
  };
  for (Tag tx : tags_of(p.x))
    for (Tag ty : tags_of(p.y))
      if (auto pd = attempt(tx, ty)) return *pd;
  if (auto pd = attempt(Tag::nhwc, Tag::nhwc)) return *pd;
  if (!slow)
    throw Unsupported(
        fmt::format("conv: oneDNN has no kernel for x {} on this processor", p.x.str()));
  return *slow;
}

/// Copies between two formats of one operand; empty where they are the same bytes.
DnnlCall conversion(const memory::desc& from, const memory::desc& to, bool add = false);

/// Empty if `desc`, the format inside a primitive, is the memory of `type`, the format outside.
DnnlCall conversion_in(const TensorType& type, const memory::desc& desc);
DnnlCall conversion_out(const memory::desc& desc, const TensorType& type);

/// Winograd's minimal filtering F(4x4, 3x3): 36 products in the place of 144, for sums that err about three times as much as
/// the plain ones (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). oneDNN sums in an order
/// that depends on how many images a call gets, so every call gets the same number: an image's y has the same bits in every
/// batch. No bits depend on the number of threads. A batch that the calls of dx do not divide has other kernels for dx.
///
/// Whether the window is 3 x 3 without strides, dilation and groups, f32, and there are channels enough to pay for it.
bool suits_winograd(const Problem& p);
constexpr std::int64_t kLeastWinogradChannels = 32;  ///< of x and of y
/// Images a call of y from x.
constexpr std::int64_t kWinogradForwardImages = 1;
/// Images a call of dx from dy, which transforms the weights in each call: as many as pay for that. 0: they never do.
std::int64_t winograd_backward_images(const Problem& p);
/// Whether dw from x and dy, of the whole batch at once, is faster so.
bool winograd_suits_weights(const Problem& p);

constexpr std::size_t kMostWinogradScratchBytes = std::size_t{64} << 20;  ///< of one call

/// Of Winograd's primitives for x and y in the formats that they have; nothing where oneDNN has none that makes do with so much
/// scratch.
template <class Make>
auto winograd_of(const Problem& p, Make make,
                 std::size_t most_scratch_bytes = std::numeric_limits<std::size_t>::max())
    -> std::optional<decltype(make(memory::desc(), memory::desc()))> {
  for (Tag tx : tags_of(p.x))
    for (Tag ty : tags_of(p.y)) try {
        auto pd = make(image_desc(p.x, tx), image_desc(p.y, ty));
        if (pd.scratchpad_desc().get_size() <= most_scratch_bytes) return pd;
      } catch (const dnnl::error&) {  // not on this processor, or not in these formats
      }
  return std::nullopt;
}

}  // namespace phalanx::conv_onednn
