// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <optional>
#include <string_view>

#include "common/onednn.hpp"
#include "conv/conv.hpp"

namespace phalanx {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

memory::desc image_desc(const TensorType& type, Tag tag) {
  const auto sizes = type.shape.sizes();
  return {memory::dims(sizes.begin(), sizes.end()), to_dnnl(type.dtype), tag};
}

/// The names that oneDNN has for the memory of an image. There are several if C = block or H = W =
/// 1, and its fast kernels insist on one of them.
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

/// The channel block of a format that oneDNN chose, if it is one of ours.
std::optional<std::int64_t> block_of(const memory::desc& desc, const TensorType& type) {
  const std::int64_t c = type.shape[1];
  if (desc == image_desc(type, Tag::nchw)) return 1;
  if (c % 16 == 0 && desc == image_desc(type, Tag::nChw16c)) return 16;
  if (c % 8 == 0 && desc == image_desc(type, Tag::nChw8c)) return 8;
  if (desc == image_desc(type, Tag::nhwc)) return c;
  return std::nullopt;
}

/// One convolution as oneDNN's three primitives see it.
struct Problem {
  Problem(const Attributes& attributes, const TensorType& x_in, const TensorType& w,
          const TensorType& y_in, bool bias)
      : sizes(conv_sizes(attributes, x_in.shape, w.shape)), x(x_in), y(y_in), has_bias(bias) {
    const Window2d& win = sizes.window;
    strides = {win.h.stride, win.w.stride};
    dilations = {win.h.dilation - 1, win.w.dilation - 1};
    pads_begin = {win.h.pad_begin, win.w.pad_begin};
    pads_end = {win.h.pad_end, win.w.pad_end};
    const auto dims = w.shape.sizes();
    w_dims.assign(dims.begin(), dims.end());
    if (sizes.group > 1) {
      w_dims[0] /= sizes.group;
      w_dims.insert(w_dims.begin(), sizes.group);
    }
  }

  memory::desc plain_w() const {
    return {w_dims, memory::data_type::f32, sizes.group > 1 ? Tag::goihw : Tag::oihw};
  }
  memory::desc any_w(DType type) const { return {w_dims, to_dnnl(type), Tag::any}; }
  memory::desc b() const { return {{sizes.o}, memory::data_type::f32, Tag::x}; }

  dnnl::convolution_forward::primitive_desc forward(const memory::desc& xd,
                                                    const memory::desc& yd) const {
    using dnnl::convolution_forward;
    const auto kind = dnnl::prop_kind::forward_training;
    const auto how = dnnl::algorithm::convolution_direct;
    const memory::desc wd = any_w(x.dtype);
    return {has_bias ? convolution_forward::desc(kind, how, xd, wd, b(), yd, strides, dilations,
                                                 pads_begin, pads_end)
                     : convolution_forward::desc(kind, how, xd, wd, yd, strides, dilations,
                                                 pads_begin, pads_end),
            dnnl_attributes(), cpu_engine()};
  }
  dnnl::convolution_backward_data::primitive_desc backward_data(const memory::desc& xd,
                                                                const memory::desc& yd) const {
    return {{dnnl::algorithm::convolution_direct, xd, any_w(x.dtype), yd, strides, dilations,
             pads_begin, pads_end},
            dnnl_attributes(),
            cpu_engine(),
            forward(xd, yd)};
  }
  dnnl::convolution_backward_weights::primitive_desc backward_weights(
      const memory::desc& xd, const memory::desc& yd) const {
    using dnnl::convolution_backward_weights;
    const auto how = dnnl::algorithm::convolution_direct;
    const memory::desc dw = any_w(DType::kF32);
    return {has_bias ? convolution_backward_weights::desc(how, xd, dw, b(), yd, strides, dilations,
                                                          pads_begin, pads_end)
                     : convolution_backward_weights::desc(how, xd, dw, yd, strides, dilations,
                                                          pads_begin, pads_end),
            dnnl_attributes(), cpu_engine(), forward(xd, yd)};
  }

  ConvSizes sizes;
  TensorType x, y;
  bool has_bias;
  memory::dims strides, dilations, pads_begin, pads_end, w_dims;
};

/// oneDNN's reference kernels take a thousand times as long, and those by matrix product twice as
/// long as the others; their sums depend on the number of threads besides.
bool is_slow(std::string_view implementation) {
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
DnnlCall conversion(const memory::desc& from, const memory::desc& to, bool add = false) {
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

/// Empty if `desc`, the format inside a primitive, is the memory of `type`, the format outside.
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

/// Hands out pieces of the workspace.
class Layout {
 public:
  std::size_t take(const memory::desc& desc) {
    const std::size_t at = size_bytes_;
    size_bytes_ += align_up(desc.get_size());
    return at;
  }
  std::size_t take_if(const DnnlCall& needed, const memory::desc& desc) {
    return needed ? take(desc) : 0;
  }
  std::size_t size_bytes() const noexcept { return size_bytes_; }

 private:
  std::size_t size_bytes_ = 0;
};

/// Weights in the format and type of a primitive, packed anew when the parameters have changed.
class PackedWeights {
 public:
  PackedWeights() = default;
  PackedWeights(const memory::desc& plain, const memory::desc& packed, Stream& stream)
      : pack_(conversion(plain, packed)), buffer_(pack_ ? packed.get_size() : 0, stream) {}

  const void* get(const void* w, std::uint64_t version) {
    if (!pack_) return w;
    if (!filled_ || version_ != version) pack_.run({w, buffer_.data()});
    filled_ = true;
    version_ = version;
    return buffer_.data();
  }

 private:
  DnnlCall pack_;
  Buffer buffer_;
  std::uint64_t version_ = 0;
  bool filled_ = false;
};

struct ForwardState final : OpState {
  explicit ForwardState(const Problem& p) {
    const auto pd =
        best_of(p, [&](const memory::desc& x, const memory::desc& y) { return p.forward(x, y); });
    to_x = conversion_in(p.x, pd.src_desc());
    from_y = conversion_out(pd.dst_desc(), p.y);
    weights = PackedWeights(p.plain_w(), pd.weights_desc(), stream);
    has_bias = p.has_bias;
    call = DnnlCall(dnnl::convolution_forward(pd));
    call.add(DNNL_ARG_SRC, pd.src_desc());
    call.add(DNNL_ARG_WEIGHTS, pd.weights_desc());
    call.add(DNNL_ARG_DST, pd.dst_desc());
    call.add(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
    if (has_bias) call.add(DNNL_ARG_BIAS, pd.bias_desc());
    scratch_at = layout.take(pd.scratchpad_desc());
    x_at = layout.take_if(to_x, pd.src_desc());
    y_at = layout.take_if(from_y, pd.dst_desc());
  }
  std::size_t workspace_bytes() const noexcept override { return layout.size_bytes(); }

  void run(const void* x, const void* w, const void* b, void* y, std::byte* workspace) {
    if (to_x) {
      to_x.run({x, workspace + x_at});
      x = workspace + x_at;
    }
    void* to = from_y ? workspace + y_at : y;
    if (has_bias)
      call.run({x, w, to, workspace + scratch_at, b});
    else
      call.run({x, w, to, workspace + scratch_at});
    if (from_y) from_y.run({to, y});
  }

  Stream stream{Device{}};  // before the buffers made on it
  PackedWeights weights;
  DnnlCall call, to_x, from_y;
  Layout layout;
  std::size_t scratch_at = 0, x_at = 0, y_at = 0;
  bool has_bias = false;
};

/// dx from w and dy.
struct BackwardData {
  BackwardData(const Problem& p, Stream& stream) {
    const auto pd = best_of(
        p, [&](const memory::desc& x, const memory::desc& y) { return p.backward_data(x, y); });
    to_dy = conversion_in(p.y, pd.diff_dst_desc());
    from_dx = conversion_out(pd.diff_src_desc(), p.x);
    weights = PackedWeights(p.plain_w(), pd.weights_desc(), stream);
    call = DnnlCall(dnnl::convolution_backward_data(pd));
    call.add(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
    call.add(DNNL_ARG_WEIGHTS, pd.weights_desc());
    call.add(DNNL_ARG_DIFF_SRC, pd.diff_src_desc());
    call.add(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
    scratch_at = layout.take(pd.scratchpad_desc());
    dy_at = layout.take_if(to_dy, pd.diff_dst_desc());
    dx_at = layout.take_if(from_dx, pd.diff_src_desc());
  }

  void run(const void* dy, const void* w, void* dx, std::byte* workspace) {
    if (to_dy) {
      to_dy.run({dy, workspace + dy_at});
      dy = workspace + dy_at;
    }
    void* to = from_dx ? workspace + dx_at : dx;
    call.run({dy, w, to, workspace + scratch_at});
    if (from_dx) from_dx.run({to, dx});
  }

  PackedWeights weights;
  DnnlCall call, to_dy, from_dx;
  Layout layout;
  std::size_t scratch_at = 0, dy_at = 0, dx_at = 0;
};

/// dw and db from x and dy, on one thread: with more, oneDNN sums over them in an order that
/// depends on their number.
struct BackwardWeights {
  explicit BackwardWeights(const Problem& p) : bias_size(p.sizes.o) {
    const OneThread one_thread;
    const auto pd = best_of(
        p, [&](const memory::desc& x, const memory::desc& y) { return p.backward_weights(x, y); });
    to_x = conversion_in(p.x, pd.src_desc());
    to_dy = conversion_in(p.y, pd.diff_dst_desc());
    store_dw = conversion(pd.diff_weights_desc(), p.plain_w());
    add_dw = conversion(pd.diff_weights_desc(), p.plain_w(), true);
    has_bias = p.has_bias;
    call = DnnlCall(dnnl::convolution_backward_weights(pd));
    call.add(DNNL_ARG_SRC, pd.src_desc());
    call.add(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
    call.add(DNNL_ARG_DIFF_WEIGHTS, pd.diff_weights_desc());
    call.add(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
    if (has_bias) call.add(DNNL_ARG_DIFF_BIAS, p.b());
    scratch_at = layout.take(pd.scratchpad_desc());
    dw_at = layout.take(pd.diff_weights_desc());
    db_at = layout.take(p.b());
    x_at = layout.take_if(to_x, pd.src_desc());
    dy_at = layout.take_if(to_dy, pd.diff_dst_desc());
  }

  /// dw or db may be null.
  void run(const void* x, const void* dy, float* dw, bool add_to_dw, float* db, bool add_to_db,
           std::byte* workspace) {
    const OneThread one_thread;
    if (to_x) {
      to_x.run({x, workspace + x_at});
      x = workspace + x_at;
    }
    if (to_dy) {
      to_dy.run({dy, workspace + dy_at});
      dy = workspace + dy_at;
    }
    const bool direct = dw != nullptr && !add_to_dw && !store_dw;
    void* packed_dw = direct ? static_cast<void*>(dw) : workspace + dw_at;
    float* sum_db = db != nullptr && !add_to_db ? db : reinterpret_cast<float*>(workspace + db_at);
    if (has_bias)
      call.run({x, dy, packed_dw, workspace + scratch_at, sum_db});
    else
      call.run({x, dy, packed_dw, workspace + scratch_at});
    if (dw != nullptr && !direct) (add_to_dw ? add_dw : store_dw).run({packed_dw, dw});
    if (db != nullptr && add_to_db)
      for (std::int64_t o = 0; o < bias_size; ++o) db[o] += sum_db[o];
  }

  DnnlCall call, to_x, to_dy, store_dw, add_dw;
  Layout layout;
  std::size_t scratch_at = 0, dw_at = 0, db_at = 0, x_at = 0, dy_at = 0;
  std::int64_t bias_size;
  bool has_bias = false;
};

struct BackwardState final : OpState {
  std::size_t workspace_bytes() const noexcept override {
    return std::max(data ? data->layout.size_bytes() : 0,
                    weights ? weights->layout.size_bytes() : 0);
  }
  Stream stream{Device{}};  // before the buffers made on it
  std::optional<BackwardData> data;
  std::optional<BackwardWeights> weights;
};

}  // namespace

void conv_choose_layout_cpu(const Attributes& attributes, Types in, Types out,
                            std::span<std::int64_t> in_blocks, std::span<std::int64_t> out_blocks) {
  TensorType x{in[0].dtype, in[0].shape.with(0, std::max<std::int64_t>(in[0].shape[0], 1))};
  TensorType y{out[0].dtype, out[0].shape.with(0, x.shape[0])};
  in_blocks[0] = x.shape[1];
  out_blocks[0] = y.shape[1];
  const Problem p(attributes, x, in[1], y, false);
  const auto any = [](const TensorType& type) { return image_desc(type, Tag::any); };
  try {
    const auto pd = p.forward(any(x), any(y));
    const auto bx = block_of(pd.src_desc(), x), by = block_of(pd.dst_desc(), y);
    // A plain x is for images: backward to a plain x has no fast kernel, but images need no
    // gradient.
    constexpr std::int64_t kMostImageChannels = 4;
    if (!bx || !by || (*bx == 1 && x.shape[1] > kMostImageChannels)) return;
    in_blocks[0] = *bx;
    out_blocks[0] = *by;
  } catch (const dnnl::error&) {
    throw Unsupported(
        fmt::format("conv: oneDNN has no kernel for x {} on this processor", x.str()));
  }
}

std::unique_ptr<OpState> conv_prepare_forward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  if (in[0].shape[0] == 0) return nullptr;
  const bool has_bias = in.size() == 3 && in_present[2];
  return std::make_unique<ForwardState>(Problem(attributes, in[0], in[1], out[0], has_bias));
}

void conv_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  if (ctx.state == nullptr) return;  // no images
  auto& state = static_cast<ForwardState&>(*ctx.state);
  const void* w = state.weights.get(in[1].data, ctx.parameter_version);
  state.run(in[0].data, w, state.has_bias ? in[2].data : nullptr, out[0].data,
            ctx.workspace.data());
}

std::unique_ptr<OpState> conv_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  // in: x, w, b, y, dy (without b if the layer has none); out: dx, dw, db
  if (in[0].shape[0] == 0) return nullptr;
  const bool has_db = out.size() == 3 && out_present[2];
  auto state = std::make_unique<BackwardState>();
  const Problem p(attributes, in[0], in[1], in.back(), has_db);
  if (out_present[0]) state->data.emplace(p, state->stream);
  if (out_present[1] || has_db) state->weights.emplace(p);
  return state;
}

void conv_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView &x = in[0], &w = in[1], &dy = in.back();
  const TensorView db = out.size() == 3 ? out[2] : TensorView{};
  if (ctx.state == nullptr) {  // no images
    if (out[1] && !ctx.adds_to(1)) std::fill_n(out[1].as<float>(), out[1].numel(), 0.0f);
    if (db && !ctx.adds_to(2)) std::fill_n(db.as<float>(), db.numel(), 0.0f);
    return;
  }
  auto& state = static_cast<BackwardState&>(*ctx.state);
  std::byte* workspace = ctx.workspace.data();
  if (state.weights)
    state.weights->run(x.data, dy.data, out[1].as<float>(), ctx.adds_to(1), db.as<float>(),
                       ctx.adds_to(2), workspace);
  if (state.data)
    state.data->run(dy.data, state.data->weights.get(w.data, ctx.parameter_version), out[0].data,
                    workspace);
}

}  // namespace phalanx
