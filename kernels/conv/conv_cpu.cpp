// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "common/conv_onednn.hpp"
#include "common/fused_relu.hpp"
#include "common/region_error.hpp"
#include "conv/conv.hpp"

namespace phalanx {
namespace {

using namespace conv_onednn;

Problem problem_of(const Attributes& attributes, const TensorType& x, const TensorType& w,
                   const TensorType& y, bool has_bias) {
  const ConvSizes sizes = conv_sizes(attributes, x.shape, w.shape);
  return {sizes.window, sizes.group, x, w, y, has_bias};
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

/// Weights in the format and type of a primitive, packed anew when the parameters have changed. All plans of a network have
/// the same: those of Winograd's way are four times as large as the weights.
class PackedWeights {
 public:
  PackedWeights() = default;
  PackedWeights(const memory::desc& plain, const memory::desc& packed)
      : pack_(conversion(plain, packed)), desc_(packed) {}

  const void* get(const void* w, OpContext& ctx) {
    if (!pack_) return w;
    if (!packed_ || packed_->from != w) {
      const auto make = [&] { return std::make_shared<Packed>(w, desc_); };
      const auto is = [&](const Packed& known) { return known.from == w && known.desc == desc_; };
      packed_ = ctx.packed != nullptr ? ctx.packed->find<Packed>(is, make) : make();
    }
    if (packed_->version != ctx.parameter_version) {
      pack_.run({w, packed_->buffer.data()});
      packed_->version = ctx.parameter_version;
    }
    return packed_->buffer.data();
  }

 private:
  struct Packed {
    Packed(const void* w, const memory::desc& format)
        : from(w), desc(format), buffer(format.get_size(), stream) {}

    const void* from;
    memory::desc desc;
    Stream stream{Device{}};
    Buffer buffer;
    std::optional<std::uint64_t> version;  // nothing was packed yet
  };

  DnnlCall pack_;
  memory::desc desc_;
  std::shared_ptr<Packed> packed_;
};

/// The formats of a primitive's operands, of y from x or of dx from dy.
struct Operands {
  Operands() = default;
  explicit Operands(const dnnl::convolution_forward::primitive_desc& pd)
      : source(pd.src_desc()),
        weights(pd.weights_desc()),
        target(pd.dst_desc()),
        bias(pd.bias_desc()),
        scratch(pd.scratchpad_desc()) {}
  explicit Operands(const dnnl::convolution_backward_data::primitive_desc& pd)
      : source(pd.diff_dst_desc()),
        weights(pd.weights_desc()),
        target(pd.diff_src_desc()),
        scratch(pd.scratchpad_desc()),
        is_forward(false) {}

  DnnlCall call_of(const dnnl::primitive& primitive, bool has_bias) const {
    DnnlCall call(primitive);
    call.add(is_forward ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, source);
    call.add(DNNL_ARG_WEIGHTS, weights);
    call.add(is_forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, target);
    call.add(DNNL_ARG_SCRATCHPAD, scratch);
    if (has_bias) call.add(DNNL_ARG_BIAS, bias);
    return call;
  }

  memory::desc source, weights, target, bias, scratch;
  bool is_forward = true;
};

void run_call(DnnlCall& call, const void* source, const void* w, const void* b, void* target,
              std::byte* scratch) {
  if (b != nullptr)
    call.run({source, w, target, scratch, b});
  else
    call.run({source, w, target, scratch});
}

/// One primitive for the whole batch, on oneDNN's threads; operands in other formats are converted on the way.
class WholeBatch {
 public:
  WholeBatch(const dnnl::primitive& primitive, const Operands& o, const TensorType& source,
             const TensorType& target, bool has_bias)
      : call_(o.call_of(primitive, has_bias)),
        to_source_(conversion_in(source, o.source)),
        from_target_(conversion_out(o.target, target)) {
    scratch_at_ = layout_.take(o.scratch);
    source_at_ = layout_.take_if(to_source_, o.source);
    target_at_ = layout_.take_if(from_target_, o.target);
  }
  std::size_t workspace_bytes() const noexcept { return layout_.size_bytes(); }

  void run(const void* source, const void* w, const void* b, void* target, std::byte* workspace) {
    if (to_source_) {
      to_source_.run({source, workspace + source_at_});
      source = workspace + source_at_;
    }
    void* to = from_target_ ? workspace + target_at_ : target;
    run_call(call_, source, w, b, to, workspace + scratch_at_);
    if (from_target_) from_target_.run({to, target});
  }

 private:
  DnnlCall call_, to_source_, from_target_;
  Layout layout_;
  std::size_t scratch_at_ = 0, source_at_ = 0, target_at_ = 0;
};

/// One primitive for some images: every OpenMP thread runs it for its share of the batch, or where the calls are too few for
/// that, or their scratch too large to have it once a thread, all of oneDNN's threads run one after the other.
class ByImages {
 public:
  /// What is true of the calls that make up a batch: `scratch_bytes` of a call on one thread.
  static bool shares_calls(std::int64_t calls, std::size_t scratch_bytes) {
    constexpr std::size_t kMostScratchBytes = std::size_t{8} << 20;
    return calls >= omp_get_max_threads() && scratch_bytes <= kMostScratchBytes;
  }

  /// `source`, `target`: of the whole batch, which is `calls` times what the primitive takes, in its formats.
  ByImages(const dnnl::primitive& primitive, const Operands& o, const TensorType& source,
           const TensorType& target, std::int64_t calls, bool shares, bool has_bias)
      : calls_(calls),
        shares_(shares),
        source_bytes_(source.size_bytes() / static_cast<std::size_t>(calls)),
        target_bytes_(target.size_bytes() / static_cast<std::size_t>(calls)),
        scratch_bytes_(align_up(o.scratch.get_size())) {
    const int threads = shares ? omp_get_max_threads() : 1;
    for (int i = 0; i < threads; ++i) of_threads_.push_back(o.call_of(primitive, has_bias));
  }
  std::size_t workspace_bytes() const noexcept { return of_threads_.size() * scratch_bytes_; }

  void run(const void* source, const void* w, const void* b, void* target, std::byte* workspace) {
    const auto call = [&](std::int64_t i, std::size_t thread) {
      const auto at = static_cast<std::size_t>(i);
      run_call(of_threads_[thread], static_cast<const std::byte*>(source) + at * source_bytes_, w,
               b, static_cast<std::byte*>(target) + at * target_bytes_,
               workspace + thread * scratch_bytes_);
    };
    if (!shares_) {
      for (std::int64_t i = 0; i < calls_; ++i) call(i, 0);
      return;
    }
    const int threads =
        std::min(static_cast<int>(of_threads_.size()), std::max(omp_get_max_threads(), 1));
    RegionError error;
#pragma omp parallel num_threads(threads)
    {
      const OneThread one_thread;
      const auto thread = static_cast<std::size_t>(omp_get_thread_num());
#pragma omp for schedule(static)
      for (std::int64_t i = 0; i < calls_; ++i) error.guard([&] { call(i, thread); });
    }
    error.rethrow();
  }

 private:
  std::vector<DnnlCall> of_threads_;
  std::int64_t calls_;
  bool shares_;
  std::size_t source_bytes_, target_bytes_, scratch_bytes_;
};

/// y from x, or dx from dy, with its weights, in one of two ways.
class Gather {
 public:
  static Gather forward(const Problem& p) {
    if (suits_winograd(p))
      if (auto gather = by_images<dnnl::convolution_forward>(p, kWinogradForwardImages))
        return std::move(*gather);
    const auto pd =
        best_of(p, [&](const memory::desc& x, const memory::desc& y) { return p.forward(x, y); });
    return {WholeBatch(dnnl::convolution_forward(pd), Operands(pd), p.x, p.y, p.has_bias), p,
            pd.weights_desc()};
  }
  static Gather backward(const Problem& p) {
    if (const std::int64_t images = winograd_backward_images(p); images > 0)
      if (auto gather = by_images<dnnl::convolution_backward_data>(p, images))
        return std::move(*gather);
    const auto pd = best_of(
        p, [&](const memory::desc& x, const memory::desc& y) { return p.backward_data(x, y); });
    return {WholeBatch(dnnl::convolution_backward_data(pd), Operands(pd), p.y, p.x, false), p,
            pd.weights_desc()};
  }

  std::size_t workspace_bytes() const noexcept {
    return std::visit([](const auto& way) { return way.workspace_bytes(); }, way_);
  }
  void run(OpContext& ctx, const void* source, const void* w, const void* b, void* target,
           std::byte* workspace) {
    const void* packed = weights_.get(w, ctx);
    std::visit([&](auto& way) { way.run(source, packed, b, target, workspace); }, way_);
  }

 private:
  using Way = std::variant<WholeBatch, ByImages>;
  Gather(Way way, const Problem& p, const memory::desc& packed)
      : way_(std::move(way)), weights_(p.plain_w(), packed) {}

  /// Which algorithm it is depends on one thread's primitive, so that it does not on the number of threads.
  template <class Primitive>
  static std::optional<Gather> by_images(const Problem& whole, std::int64_t images) {
    constexpr bool kIsForward = std::is_same_v<Primitive, dnnl::convolution_forward>;
    const Problem p = whole.of_images(images).by(dnnl::algorithm::convolution_winograd);
    const auto make = [&](const memory::desc& x, const memory::desc& y) {
      if constexpr (kIsForward)
        return p.forward(x, y);
      else
        return p.backward_data(x, y);
    };
    const std::int64_t calls = whole.x.shape[0] / images;
    auto pd = on_one_thread([&] { return winograd_of(p, make, kMostWinogradScratchBytes); });
    if (!pd) return std::nullopt;
    bool shares = ByImages::shares_calls(calls, pd->scratchpad_desc().get_size());
    if (!shares) {
      auto of_all_threads = winograd_of(p, make);
      shares = !of_all_threads;
      if (of_all_threads) pd = std::move(of_all_threads);
    }
    const Primitive primitive =
        shares ? on_one_thread([&] { return Primitive(*pd); }) : Primitive(*pd);
    const TensorType &from = kIsForward ? whole.x : whole.y, &to = kIsForward ? whole.y : whole.x;
    return Gather(
        ByImages(primitive, Operands(*pd), from, to, calls, shares, kIsForward && p.has_bias), p,
        pd->weights_desc());
  }

  Way way_;
  PackedWeights weights_;
};

struct ForwardState final : OpState {
  ForwardState(const Problem& p, bool has_relu) : gather(Gather::forward(p)), relu(has_relu) {}
  std::size_t workspace_bytes() const noexcept override { return gather.workspace_bytes(); }

  Gather gather;
  bool relu;
};

/// dw and db from x and dy, on one thread: with more, oneDNN sums over them in an order that
/// depends on their number.
struct BackwardWeights {
  explicit BackwardWeights(const Problem& p) : bias_size(p.y.shape[1]) {
    const OneThread one_thread;
    const auto pd = chosen(p);
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

  static dnnl::convolution_backward_weights::primitive_desc chosen(const Problem& p) {
    const auto make = [](const Problem& by) {
      return
          [&by](const memory::desc& x, const memory::desc& y) { return by.backward_weights(x, y); };
    };
    const Problem winograd = p.by(dnnl::algorithm::convolution_winograd);
    if (winograd_suits_weights(p))
      if (auto pd = winograd_of(winograd, make(winograd), kMostWinogradScratchBytes)) return *pd;
    return best_of(p, make(p));
  }

  DnnlCall call, to_x, to_dy, store_dw, add_dw;
  Layout layout;
  std::size_t scratch_at = 0, dw_at = 0, db_at = 0, x_at = 0, dy_at = 0;
  std::int64_t bias_size;
  bool has_bias = false;
};

struct BackwardState final : OpState {
  std::size_t workspace_bytes() const noexcept override {
    return gradient_bytes +
           std::max(data ? data->workspace_bytes() : 0, weights ? weights->layout.size_bytes() : 0);
  }
  std::optional<Gather> data;
  std::optional<BackwardWeights> weights;
  std::size_t gradient_bytes = 0;  // of dy behind the activation, in front of the rest
};

/// A plain x is for images: backward to a plain x has no fast kernel, but images need no gradient.
bool is_image(const TensorType& x) {
  constexpr std::int64_t kMostChannels = 4;
  return x.shape[1] <= kMostChannels;
}

/// The channel blocks of the formats that oneDNN chooses where the tags leave it a choice. False if it has no fast kernel.
bool choose_formats(const Problem& p, Tag x_tag, Tag y_tag, std::int64_t& x_block,
                    std::int64_t& y_block) {
  try {
    const auto pd = p.forward(image_desc(p.x, x_tag), image_desc(p.y, y_tag));
    if (x_tag != Tag::any && is_slow(pd.impl_info_str())) return false;
    const auto bx = block_of(pd.src_desc(), p.x), by = block_of(pd.dst_desc(), p.y);
    if (!bx || !by || (*bx == 1 && !is_image(p.x))) return true;  // converted on the way
    x_block = *bx;
    y_block = *by;
    return true;
  } catch (const dnnl::error&) {  // not on this processor
    return false;
  }
}

}  // namespace

void conv_choose_layout_cpu(const Attributes& attributes, Types in, Types out,
                            std::span<std::int64_t> in_blocks, std::span<std::int64_t> out_blocks) {
  const TensorType x{in[0].dtype, in[0].shape.with(0, std::max<std::int64_t>(in[0].shape[0], 1))};
  const TensorType y{out[0].dtype, out[0].shape.with(0, x.shape[0])};
  in_blocks[0] = x.shape[1];
  out_blocks[0] = y.shape[1];
  const Problem p = problem_of(attributes, x, in[1], y, false);
  const auto choose = [&](const Problem& by, Tag x_tag, Tag y_tag) {
    return choose_formats(by, x_tag, y_tag, in_blocks[0], out_blocks[0]);
  };
  if (suits_winograd(p) &&
      choose(p.of_images(kWinogradForwardImages).by(dnnl::algorithm::convolution_winograd),
             Tag::any, Tag::any))
    return;
  // Images come plain, and behind so many channels stands a convolution that wants blocks of 16.
  if (is_image(x) && y.shape[1] >= kLeastWinogradChannels && y.shape[1] % 16 == 0 &&
      choose(p, Tag::nchw, Tag::nChw16c))
    return;
  if (!choose(p, Tag::any, Tag::any))
    throw Unsupported(
        fmt::format("conv: oneDNN has no kernel for x {} on this processor", x.str()));
}

std::unique_ptr<OpState> conv_prepare_forward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  if (in[0].shape[0] == 0) return nullptr;
  const bool has_bias = in.size() == 3 && in_present[2];
  return std::make_unique<ForwardState>(problem_of(attributes, in[0], in[1], out[0], has_bias),
                                        conv_sizes(attributes, in[0].shape, in[1].shape).relu);
}

void conv_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  if (ctx.state == nullptr) return;  // no images
  auto& state = static_cast<ForwardState&>(*ctx.state);
  state.gather.run(ctx, in[0].data, in[1].data, in.size() == 3 ? in[2].data : nullptr, out[0].data,
                   ctx.workspace.data());
  if (state.relu)
    with_float_type(out[0].type.dtype, [&]<class T>() { relu(out[0].as<T>(), out[0].numel()); });
}

std::unique_ptr<OpState> conv_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  // in: x, w, b, y, dy (without b if the layer has none); out: dx, dw, db
  if (in[0].shape[0] == 0) return nullptr;
  const bool has_db = out.size() == 3 && out_present[2];
  auto state = std::make_unique<BackwardState>();
  if (conv_sizes(attributes, in[0].shape, in[1].shape).relu)
    state->gradient_bytes = align_up(in.back().size_bytes());
  const Problem p = problem_of(attributes, in[0], in[1], in.back(), has_db);
  if (out_present[0]) state->data = Gather::backward(p);
  if (out_present[1] || has_db) state->weights.emplace(p);
  return state;
}

void conv_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView &x = in[0], &w = in[1];
  ConstTensorView dy = in.back();
  const TensorView db = out.size() == 3 ? out[2] : TensorView{};
  if (ctx.state == nullptr) {  // no images
    if (out[1] && !ctx.adds_to(1)) std::fill_n(out[1].as<float>(), out[1].numel(), 0.0f);
    if (db && !ctx.adds_to(2)) std::fill_n(db.as<float>(), db.numel(), 0.0f);
    return;
  }
  auto& state = static_cast<BackwardState&>(*ctx.state);
  std::byte* workspace = ctx.workspace.data() + state.gradient_bytes;
  if (state.gradient_bytes > 0) {
    const ConstTensorView& y = in[in.size() - 2];
    with_float_type(dy.type.dtype, [&]<class T>() {
      relu_gradient(y.as<T>(), dy.as<T>(), reinterpret_cast<T*>(ctx.workspace.data()), dy.numel());
    });
    dy.data = ctx.workspace.data();
  }
  if (state.weights)
    state.weights->run(x.data, dy.data, out[1].as<float>(), ctx.adds_to(1), db.as<float>(),
                       ctx.adds_to(2), workspace);
  if (state.data) state.data->run(ctx, dy.data, w.data, nullptr, out[0].data, workspace);
}

}  // namespace phalanx
