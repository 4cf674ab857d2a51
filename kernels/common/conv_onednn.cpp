// SPDX-License-Identifier: Apache-2.0
#include "common/conv_onednn.hpp"

#include <algorithm>

namespace phalanx::conv_onednn {

memory::desc image_desc(const TensorType& type, Tag tag) {
  const auto sizes = type.shape.sizes();
  return {memory::dims(sizes.begin(), sizes.end()), to_dnnl(type.dtype), tag};
}

std::vector<Tag> tags_of(const TensorType& type) {
  const std::int64_t c = type.shape[1], block = type.channel_block;
  const bool any_order = c == 1 || type.shape[2] * type.shape[3] == 1;
  std::vector<Tag> tags;
  if (block == 1) tags.push_back(Tag::nchw);
  if (block == 16 || (any_order && c % 16 == 0)) tags.push_back(Tag::nChw16c);
  if (block == 8 || (any_order && c % 8 == 0)) tags.push_back(Tag::nChw8c);
  if (block == c || any_order) tags.push_back(Tag::nhwc);
  if (tags.empty())
    throw Unsupported(fmt::format("conv: oneDNN does not know the format of {}", type.str()));
  return tags;
}

std::optional<std::int64_t> block_of(const memory::desc& desc, const TensorType& type) {
  const std::int64_t c = type.shape[1];
  if (desc == image_desc(type, Tag::nchw)) return 1;
  if (c % 16 == 0 && desc == image_desc(type, Tag::nChw16c)) return 16;
  if (c % 8 == 0 && desc == image_desc(type, Tag::nChw8c)) return 8;
  if (desc == image_desc(type, Tag::nhwc)) return c;
  return std::nullopt;
}

Problem::Problem(const Window2d& of, std::int64_t groups, const TensorType& x_in,
                 const TensorType& w, const TensorType& y_in, bool bias)
    : window(of), group(groups), x(x_in), y(y_in), has_bias(bias) {
  strides = {window.h.stride, window.w.stride};
  dilations = {window.h.dilation - 1, window.w.dilation - 1};
  pads_begin = {window.h.pad_begin, window.w.pad_begin};
  pads_end = {window.h.pad_end, window.w.pad_end};
  const auto dims = w.shape.sizes();
  w_dims.assign(dims.begin(), dims.end());
  if (group > 1) {
    w_dims[0] /= group;
    w_dims.insert(w_dims.begin(), group);
  }
}

Problem Problem::of_images(std::int64_t images) const {
  Problem p = *this;
  p.x.shape = x.shape.with(0, images);
  p.y.shape = y.shape.with(0, images);
  return p;
}

Problem Problem::by(dnnl::algorithm other) const {
  Problem p = *this;
  p.algorithm = other;
  return p;
}

memory::desc Problem::plain_w() const {
  return {w_dims, memory::data_type::f32, group > 1 ? Tag::goihw : Tag::oihw};
}

dnnl::convolution_forward::primitive_desc Problem::forward(const memory::desc& xd,
                                                           const memory::desc& yd,
                                                           dnnl::prop_kind kind) const {
  using dnnl::convolution_forward;
  const memory::desc wd = any_w(x.dtype);
  return {has_bias ? convolution_forward::desc(kind, algorithm, xd, wd, b(), yd, strides, dilations,
                                               pads_begin, pads_end)
                   : convolution_forward::desc(kind, algorithm, xd, wd, yd, strides, dilations,
                                               pads_begin, pads_end),
          dnnl_attributes(), cpu_engine()};
}

dnnl::convolution_backward_data::primitive_desc Problem::backward_data(
    const memory::desc& xd, const memory::desc& yd) const {
  return {{algorithm, xd, any_w(x.dtype), yd, strides, dilations, pads_begin, pads_end},
          dnnl_attributes(),
          cpu_engine(),
          forward(xd, yd, dnnl::prop_kind::forward_training)};
}

dnnl::convolution_backward_weights::primitive_desc Problem::backward_weights(
    const memory::desc& xd, const memory::desc& yd) const {
  using dnnl::convolution_backward_weights;
  const memory::desc dw = any_w(DType::kF32);
  return {has_bias ? convolution_backward_weights::desc(algorithm, xd, dw, b(), yd, strides,
                                                        dilations, pads_begin, pads_end)
                   : convolution_backward_weights::desc(algorithm, xd, dw, yd, strides, dilations,
                                                        pads_begin, pads_end),
          dnnl_attributes(), cpu_engine(), forward(xd, yd, dnnl::prop_kind::forward_training)};
}

DnnlCall conversion(const memory::desc& from, const memory::desc& to, bool add) {
  if (from == to && !add) return {};
  dnnl::primitive_attr attributes;
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  DnnlCall call(dnnl::reorder({cpu_engine(), from, cpu_engine(), to, attributes}));
  call.add(DNNL_ARG_FROM, from);
  call.add(DNNL_ARG_TO, to);
  return call;
}

DnnlCall conversion_in(const TensorType& type, const memory::desc& desc) {
  for (Tag tag : tags_of(type))
    if (image_desc(type, tag) == desc) return {};
  return conversion(image_desc(type, tags_of(type).front()), desc);
}

DnnlCall conversion_out(const memory::desc& desc, const TensorType& type) {
  for (Tag tag : tags_of(type))
    if (image_desc(type, tag) == desc) return {};
  return conversion(desc, image_desc(type, tags_of(type).front()));
}

// --- Winograd: the bounds are where it began to be faster than oneDNN's direct kernels with AVX-512, on one thread.

namespace {

std::int64_t places(const Problem& p) { return p.y.shape[2] * p.y.shape[3]; }
std::int64_t fewest_channels(const Problem& p) { return std::min(p.x.shape[1], p.y.shape[1]); }

}  // namespace

bool suits_winograd(const Problem& p) {
  const auto is_plain = [](const WindowAxis& a) {
    return a.kernel == 3 && a.stride == 1 && a.dilation == 1;
  };
  return p.x.dtype == DType::kF32 && p.group == 1 && is_plain(p.window.h) && is_plain(p.window.w) &&
         fewest_channels(p) >= kLeastWinogradChannels && p.x.shape[1] % 16 == 0 &&
         p.y.shape[1] % 16 == 0 && places(p) >= 49;
}

std::int64_t winograd_backward_images(const Problem& p) {
  if (!suits_winograd(p) || fewest_channels(p) < 64) return 0;
  std::int64_t images = 1;
  while (images * places(p) < 2048) images *= 2;
  return p.x.shape[0] % images == 0 ? images : 0;
}

bool winograd_suits_weights(const Problem& p) {
  return suits_winograd(p) && p.x.shape[0] * places(p) >= (fewest_channels(p) >= 64 ? 1500 : 8000);
}

}  // namespace phalanx::conv_onednn
