// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "common/activations.hpp"
#include "common/conv_own.hpp"
#include "common/conv_vendor.hpp"
#include "common/launch.hpp"
#include "conv/conv.hpp"

namespace phalanx {
namespace {

using conv_own::BiasGradient;
using conv_own::Gather;
using conv_own::WeightGradient;

// --- what kernels see of types and attributes

/// Kernels count the pixels of a batch, and the elements of an image, in 32 bits.
constexpr std::int64_t kMostPlaces = (std::int64_t{1} << 31) - (std::int64_t{1} << 20);

ConvImage image_of(const TensorType& type) {
  const Shape& s = type.shape;
  const std::int64_t pixels = s[2] * s[3];
  if (s[0] * pixels > kMostPlaces || s[1] * pixels > kMostPlaces)
    throw Unsupported(
        "conv on a GPU takes less than 2^31 pixels a batch and elements an image, "
        "found " +
        type.str());
  const auto channels = static_cast<int>(s[1]), block = static_cast<int>(type.channel_block);
  ConvImage image{.image_stride = s[1] * pixels,
                  .channels = channels,
                  .height = static_cast<int>(s[2]),
                  .width = static_cast<int>(s[3]),
                  .block = pixels == 1 ? channels : block};  // where formats are the same bytes
  image.pixel_stride = image.block;
  image.row_stride = image.width * image.pixel_stride;
  image.block_stride = image.height * image.row_stride;
  return image;
}

ConvAxis axis_of(const WindowAxis& a) {
  ConvAxis axis{.in = static_cast<int>(a.in),
                .out = static_cast<int>(a.out),
                .kernel = static_cast<int>(a.kernel),
                .stride = static_cast<int>(a.stride),
                .dilation = static_cast<int>(a.dilation),
                .pad = static_cast<int>(a.pad_begin),
                .pad_end = static_cast<int>(a.pad_end)};
  axis.period = axis.stride / std::gcd(axis.stride, axis.dilation);
  return axis;
}

ConvShape shape_of(const PrepareArguments& given, const TensorType& x, const TensorType& y) {
  const ConvSizes sizes = conv_sizes(given.attributes, x.shape, given.in[1].shape);
  if (given.in[1].shape.numel() > kMostPlaces)
    throw Unsupported("conv on a GPU takes less than 2^31 weights, found " + given.in[1].str());
  return {.images = static_cast<int>(sizes.n),
          .group = static_cast<int>(sizes.group),
          .h = axis_of(sizes.window.h),
          .w = axis_of(sizes.window.w),
          .x = image_of(x),
          .y = image_of(y),
          .type = x.dtype,
          .tf32 = given.device.backend->options.tf32};
}

std::size_t bytes_of(const ConvShape& s, const ConvImage& image) {
  return static_cast<std::size_t>(s.images) * static_cast<std::size_t>(image.image_stride) *
         size_bytes(s.type);
}

// --- ours or the library's

/// Device memory for measurements, zeros.
class Scratch {
 public:
  explicit Scratch(Stream& stream) : stream_(stream) {}
  std::byte* take(std::size_t size_bytes) {
    const Buffer& buffer = buffers_.emplace_back(std::max<std::size_t>(size_bytes, 1), stream_);
    BackendStream& queue = backend_stream(stream_);
    queue.backend->fill_zero(buffer.data(), buffer.size_bytes(), &queue);
    return buffer.data();
  }

 private:
  Stream& stream_;
  std::vector<Buffer> buffers_;
};

std::string key_of(std::string_view part, const ConvShape& s, bool has_bias) {
  std::string key = "conv " + std::string(part);
  const auto add = [&](std::int64_t number) { key += ' ' + std::to_string(number); };
  for (const ConvAxis& a : {s.h, s.w})
    for (int number : {a.in, a.out, a.kernel, a.stride, a.dilation, a.pad}) add(number);
  for (const ConvImage& image : {s.x, s.y}) add(image.channels), add(image.block);
  add(s.images), add(s.group), add(static_cast<int>(s.type)), add(s.tf32), add(has_bias);
  return key;
}

using Vendors = std::vector<std::unique_ptr<ConvVendor>>;

/// The library's way if that is wanted, or faster where the backend may choose; null for ours. `measure` makes the candidates:
/// ours, then the library's.
template <class Measure>
std::unique_ptr<ConvVendor> vendor_if_better(const Device& device, Stream& stream,
                                             const ConvShape& s, ConvPart part, bool has_bias,
                                             std::string_view name, Measure measure) {
  constexpr std::size_t kMostMeasured = 3;
  const KernelChoice choice = device.backend->options.conv;
  if (choice == KernelChoice::kOwn) return nullptr;
  const bool measures = choice == KernelChoice::kAuto;
  Vendors vendors = make_conv_vendors(s, part, has_bias, measures ? kMostMeasured : 1, device);
  if (vendors.empty()) return nullptr;
  if (!measures) return std::move(vendors.front());
  try {
    Scratch scratch(stream);
    const std::vector<Candidate> candidates = measure(scratch, vendors);
    stream.synchronize();  // candidates run on another stream
    const std::size_t best =
        device.backend->choose(device.index, key_of(name, s, has_bias), candidates);
    // The choice is remembered, and cuDNN may have offered more ways when it was made.
    return best == 0 || best > vendors.size() ? nullptr : std::move(vendors[best - 1]);
  } catch (const OutOfMemory&) {  // no room to measure; ours needs least
    return nullptr;
  }
}

std::size_t most_workspace(const Vendors& vendors) {
  std::size_t most = 0;
  for (const auto& vendor : vendors) most = std::max(most, vendor->workspace_bytes());
  return most;
}

/// Packed weights, anew when the parameters have changed. The memory is that of a stream which nothing else uses, so whoever
/// ends a state has waited for its last run.
class PackedWeights {
 public:
  PackedWeights() = default;
  PackedWeights(std::size_t size_bytes, Stream& stream) : buffer_(size_bytes, stream) {
    BackendStream& queue = backend_stream(stream);
    queue.backend->fill_zero(buffer_.data(), buffer_.size_bytes(), &queue);
    stream.synchronize();
  }
  template <class Pack>
  const void* get(std::uint64_t version, Pack pack) {
    if (!filled_ || version_ != version) pack(static_cast<void*>(buffer_.data()));
    filled_ = true;
    version_ = version;
    return buffer_.data();
  }

 private:
  Buffer buffer_;
  std::uint64_t version_ = 0;
  bool filled_ = false;
};

/// y from x, or dx from dy.
class GatherPlan {
 public:
  GatherPlan(const Device& device, Stream& stream, const ConvShape& shape,
             Gather::Direction direction, bool has_bias, bool relu)
      : shape_(shape), relu_(relu), own_(shape, direction) {
    const bool is_forward = direction == Gather::Direction::kForward;
    const auto measure = [&](Scratch& scratch, const Vendors& vendors) {
      const std::byte* packed = scratch.take(std::max(own_.packed_bytes(), rows_bytes()));
      const std::byte* source = scratch.take(bytes_of(shape, is_forward ? shape.x : shape.y));
      std::byte* target = scratch.take(bytes_of(shape, is_forward ? shape.y : shape.x));
      std::byte* workspace = scratch.take(most_workspace(vendors));
      const std::byte* zeros = scratch.take(static_cast<std::size_t>(shape.y.channels) * 4);
      const auto* bias = has_bias ? reinterpret_cast<const float*>(zeros) : nullptr;
      std::vector<Candidate> all{[=, this](BackendStream& queue) {
        own_.run(source, packed, bias, relu_, target, queue);
      }};
      for (const auto& vendor : vendors)
        all.emplace_back([=, this, &way = *vendor](BackendStream& queue) {
          run_vendor(way, source, packed, bias, target, workspace, queue);
        });
      return all;
    };
    const std::string_view name = !is_forward ? "backward_x" : relu ? "forward_relu" : "forward";
    vendor_ = vendor_if_better(device, stream, shape,
                               is_forward ? ConvPart::kForward : ConvPart::kBackwardX, has_bias,
                               name, measure);
    weights_ = PackedWeights(vendor_ ? rows_bytes() : own_.packed_bytes(), stream);
  }

  std::size_t workspace_bytes() const noexcept { return vendor_ ? vendor_->workspace_bytes() : 0; }

  void run(OpContext& ctx, const void* source, const void* w, const float* bias,
           const TensorView& target) {
    BackendStream& queue = backend_stream(ctx.stream);
    const void* packed = weights_.get(ctx.parameter_version, [&](void* to) {
      const auto* from = static_cast<const float*>(w);
      if (vendor_)
        conv_own::pack_rows(shape_, from, to, row_length(), queue);
      else
        own_.pack(from, to, queue);
    });
    if (!vendor_) return own_.run(source, packed, bias, relu_, target.data, queue);
    run_vendor(*vendor_, source, packed, bias, target.data, ctx.workspace.data(), queue);
  }

 private:
  void run_vendor(ConvVendor& way, const void* source, const void* packed, const float* bias,
                  void* target, std::byte* workspace, BackendStream& queue) const {
    way.run(source, packed, bias, target, workspace, queue);
    if (!relu_) return;
    const TensorView y{target, {shape_.type, Shape{shape_.images * shape_.y.image_stride}}};
    map_unary("conv_forward_relu", queue, y, y, ValueOf<Relu>{});
  }

  std::int64_t row_length() const { return std::int64_t{shape_.c_of_group()} * shape_.cells(); }
  std::size_t rows_bytes() const {
    return static_cast<std::size_t>(shape_.weights()) * size_bytes(shape_.type);
  }

  ConvShape shape_;
  bool relu_;
  Gather own_;
  std::unique_ptr<ConvVendor> vendor_;
  PackedWeights weights_;
};

/// dw from x and dy. The library's lies in the workspace first, in an order of its own.
class WeightGradientPlan {
 public:
  WeightGradientPlan(const Device& device, Stream& stream, const ConvShape& shape)
      : shape_(shape), own_(shape) {
    const auto measure = [&](Scratch& scratch, const Vendors& vendors) {
      const std::byte *x = scratch.take(bytes_of(shape, shape.x)),
                      *dy = scratch.take(bytes_of(shape, shape.y));
      std::byte* workspace = scratch.take(
          std::max(own_.workspace_bytes(), align_up(rows_bytes()) + most_workspace(vendors)));
      auto* dw = reinterpret_cast<float*>(scratch.take(rows_bytes()));
      std::vector<Candidate> all{
          [=, this](BackendStream& queue) { own_.run(x, dy, dw, false, workspace, queue); }};
      for (const auto& vendor : vendors)
        all.emplace_back([=, this, &way = *vendor](BackendStream& queue) {
          run_vendor(way, x, dy, dw, false, workspace, queue);
        });
      return all;
    };
    vendor_ =
        vendor_if_better(device, stream, shape, ConvPart::kBackwardW, false, "backward_w", measure);
  }

  std::size_t workspace_bytes() const noexcept {
    return vendor_ ? vendor_bytes(*vendor_) : own_.workspace_bytes();
  }

  void run(OpContext& ctx, const void* x, const void* dy, float* dw, bool adds) {
    BackendStream& queue = backend_stream(ctx.stream);
    if (vendor_)
      run_vendor(*vendor_, x, dy, dw, adds, ctx.workspace.data(), queue);
    else
      own_.run(x, dy, dw, adds, ctx.workspace.data(), queue);
  }

 private:
  std::size_t rows_bytes() const noexcept {
    return static_cast<std::size_t>(shape_.weights()) * sizeof(float);
  }
  std::size_t vendor_bytes(const ConvVendor& vendor) const noexcept {
    return align_up(rows_bytes()) + vendor.workspace_bytes();
  }
  void run_vendor(ConvVendor& vendor, const void* x, const void* dy, float* dw, bool adds,
                  std::byte* workspace, BackendStream& queue) const {
    vendor.run(x, dy, nullptr, workspace, workspace + align_up(rows_bytes()), queue);
    conv_own::unpack_gradient(shape_, reinterpret_cast<const float*>(workspace), 1,
                              std::int64_t{shape_.c_of_group()} * shape_.cells(), dw, adds, queue);
  }

  ConvShape shape_;
  WeightGradient own_;
  std::unique_ptr<ConvVendor> vendor_;
};

bool has_relu(const PrepareArguments& given) {
  return conv_sizes(given.attributes, given.in[0].shape, given.in[1].shape).relu;
}

struct ForwardState final : OpState {
  ForwardState(const PrepareArguments& given, bool has_bias)
      : stream(given.device),
        plan(given.device, stream, shape_of(given, given.in[0], given.out[0]),
             Gather::Direction::kForward, has_bias, has_relu(given)) {}
  std::size_t workspace_bytes() const noexcept override { return plan.workspace_bytes(); }

  Stream stream;  // before what is made on it
  GatherPlan plan;
};

struct BackwardState final : OpState {
  explicit BackwardState(const Device& device) : stream(device) {}
  // The parts run one after the other.
  std::size_t workspace_bytes() const noexcept override {
    return gradient_bytes +
           std::max({dx ? dx->workspace_bytes() : 0, dw ? dw->workspace_bytes() : 0,
                     db ? db->workspace_bytes() : 0});
  }

  Stream stream;  // before what is made on it
  std::optional<GatherPlan> dx;
  std::optional<WeightGradientPlan> dw;
  std::optional<BiasGradient> db;
  std::size_t gradient_bytes = 0;  // of dy behind the activation, in front of the rest
};

std::unique_ptr<OpState> prepare_forward(const PrepareArguments& given) {
  if (given.in[0].shape[0] == 0) return nullptr;
  return std::make_unique<ForwardState>(given, given.in.size() == 3 && given.in_present[2]);
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  if (ctx.state == nullptr) return;  // no images
  const float* bias = in.size() == 3 ? in[2].as<float>() : nullptr;
  static_cast<ForwardState&>(*ctx.state).plan.run(ctx, in[0].data, in[1].data, bias, out[0]);
}

std::unique_ptr<OpState> prepare_backward(const PrepareArguments& given) {
  // in: x, w, b, y, dy (without b if the layer has none); out: dx, dw, db
  if (given.in[0].shape[0] == 0) return nullptr;
  auto state = std::make_unique<BackwardState>(given.device);
  const ConvShape shape = shape_of(given, given.in[0], given.in.back());
  if (has_relu(given)) state->gradient_bytes = align_up(given.in.back().size_bytes());
  if (given.out_present[0])
    state->dx.emplace(given.device, state->stream, shape, Gather::Direction::kBackward, false,
                      false);
  if (given.out_present[1]) state->dw.emplace(given.device, state->stream, shape);
  if (given.out.size() == 3 && given.out_present[2]) state->db.emplace(shape);
  return state;
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView &x = in[0], &w = in[1];
  ConstTensorView dy = in.back();
  if (ctx.state == nullptr) {  // no images
    BackendStream& queue = backend_stream(ctx.stream);
    for (std::size_t i = 1; i < out.size(); ++i)
      if (out[i] && !ctx.adds_to(i))
        queue.backend->fill_zero(out[i].as<std::byte>(), out[i].type.size_bytes(), &queue);
    return;
  }
  auto& state = static_cast<BackwardState&>(*ctx.state);
  if (state.gradient_bytes > 0) {
    const TensorView gradient{ctx.workspace.data(), dy.type};
    map_binary("conv_backward_relu", ctx, in[in.size() - 2], dy, gradient, GradientOf<Relu>{});
    dy.data = gradient.data;
  }
  OpContext rest = ctx;
  rest.workspace = ctx.workspace.subspan(state.gradient_bytes);
  if (state.dw) state.dw->run(rest, x.data, dy.data, out[1].as<float>(), ctx.adds_to(1));
  if (state.db)
    state.db->run(dy.data, out[2].as<float>(), ctx.adds_to(2), rest.workspace.data(),
                  backend_stream(ctx.stream));
  if (state.dx) state.dx->run(rest, dy.data, w.data, nullptr, out[0]);
}

/// Channels last, which every kernel reads in runs. Images keep their plain format: they are read once, and need no gradient.
void choose_layout(const Attributes&, Types in, Types out, std::span<std::int64_t> in_blocks,
                   std::span<std::int64_t> out_blocks) {
  constexpr std::int64_t kMostImageChannels = 4;
  const std::int64_t channels = in[0].shape[1];
  in_blocks[0] = channels <= kMostImageChannels ? 1 : channels;
  out_blocks[0] = out[0].shape[1];
}

}  // namespace

extern const DeviceKernels conv_cuda;
const DeviceKernels conv_cuda = {.forward = forward,
                                 .backward = backward,
                                 .prepare_forward = prepare_forward,
                                 .prepare_backward = prepare_backward,
                                 .choose_layout = choose_layout};

}  // namespace phalanx
