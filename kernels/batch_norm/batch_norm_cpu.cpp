// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "batch_norm/batch_norm.hpp"
#include "common/channels.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kScratchPerChannel = 5;  // doubles

struct State final : OpState {
  std::size_t scratch_bytes = 0;
  std::size_t workspace_bytes() const noexcept override { return scratch_bytes; }
};

bool training(const Attributes& attributes) { return attributes.get_int("training_mode", 0) != 0; }

float rstd_of(double variance, const Attributes& attributes) {
  return static_cast<float>(1.0 / std::sqrt(variance + attributes.get_float("epsilon", 1e-5)));
}

/// Mean and variance of the channels of one group, from pieces that are each read twice while they
/// are in the cache.
class Moments {
 public:
  Moments(std::int64_t block, double* scratch)
      : block_(block),
        mean_(scratch),
        squares_(mean_ + block),
        sums_(squares_ + block),
        centre_(reinterpret_cast<float*>(sums_ + 2 * block)) {
    std::fill_n(mean_, 2 * block, 0.0);
  }

  template <class T>
  void add_slab(const T* x, std::int64_t pixels) {
    const std::int64_t piece = block_ == 1 ? kSegmentPixels * kChannelLanes : kSegmentPixels;
    for (std::int64_t begin = 0; begin < pixels; begin += piece)
      add_piece(x + begin * block_, std::min(piece, pixels - begin));
  }
  double mean(std::int64_t b) const { return mean_[b]; }
  double variance(std::int64_t b) const { return squares_[b] / count_; }

 private:
  template <class T>
  void add_piece(const T* x, std::int64_t pixels) {
    const auto n = static_cast<double>(pixels);
    float* centre = centre_;
    std::fill_n(sums_, 2 * block_, 0.0);
    add_channel_sums<1>(pixels, block_, sums_, [x](std::int64_t i, std::int64_t) {
      return std::array<float, 1>{static_cast<float>(x[i])};
    });
    for (std::int64_t b = 0; b < block_; ++b) centre[b] = static_cast<float>(sums_[b] / n);
    std::fill_n(sums_, block_, 0.0);
    add_channel_sums<2>(pixels, block_, sums_, [x, centre](std::int64_t i, std::int64_t b) {
      const float d = static_cast<float>(x[i]) - centre[b];
      return std::array<float, 2>{d, d * d};
    });
    const double share = n / (count_ + n);
    for (std::int64_t b = 0; b < block_; ++b) {
      const double off = sums_[b] / n;  // what rounding left of the centre
      const double delta = static_cast<double>(centre[b]) + off - mean_[b];
      squares_[b] += sums_[block_ + b] - off * sums_[b] + delta * delta * count_ * share;
      mean_[b] += delta * share;
    }
    count_ += n;
  }

  std::int64_t block_;
  double* mean_;     // [block]
  double* squares_;  // [block], sums of squared deviations from the mean
  double* sums_;     // [2, block]
  float* centre_;    // [block]
  double count_ = 0;
};

/// The constants of the channels of one group; each [block].
struct Channels {
  const float *mean, *rstd, *scale, *bias;
  Channels of_group(std::int64_t group, std::int64_t block) const {
    return {mean + group * block, rstd + group * block, scale + group * block,
            bias ? bias + group * block : nullptr};
  }
};

template <class T>
void normalise(const T* x, T* y, const ChannelView& view, const Channels& c) {
  for_each_in_slab(view.pixels, view.block, [=](std::int64_t i, std::int64_t b) {
    y[i] = T((static_cast<float>(x[i]) - c.mean[b]) * (c.rstd[b] * c.scale[b]) + c.bias[b]);
  });
}

void copy_statistics(Inputs in, Outputs out) {
  for (std::size_t i : {1u, 2u})
    if (out[i].data != in[i + 2].data)
      std::copy_n(in[i + 2].as<float>(), in[i + 2].numel(), out[i].as<float>());
  for (std::size_t i : {3u, 4u}) std::fill_n(out[i].as<float>(), out[i].numel(), 0.0f);
}

template <class T>
void forward_training(OpContext& ctx, Inputs in, Outputs out, const ChannelView& view) {
  const T* x = in[0].as<T>();
  const double momentum = ctx.attributes.get_float("momentum", 0.9);
  auto *mean = out[3].as<float>(), *rstd = out[4].as<float>();
  const auto move = [&](std::size_t output, std::int64_t c, double value) {
    out[output].as<float>()[c] = static_cast<float>(
        momentum * static_cast<double>(in[output + 2].as<float>()[c]) + (1 - momentum) * value);
  };
  for (std::int64_t group = 0; group < view.groups; ++group) {
    Moments moments(view.block, reinterpret_cast<double*>(ctx.workspace.data()));
    for (std::int64_t n = 0; n < view.n; ++n)
      moments.add_slab(x + view.slab_offset(n, group), view.pixels);
    for (std::int64_t b = 0; b < view.block; ++b) {
      const std::int64_t c = group * view.block + b;
      mean[c] = static_cast<float>(moments.mean(b));
      rstd[c] = rstd_of(moments.variance(b), ctx.attributes);
      move(1, c, moments.mean(b));
      move(2, c, moments.variance(b));
    }
    const Channels channels =
        Channels{mean, rstd, in[1].as<float>(), in[2].as<float>()}.of_group(group, view.block);
    for (std::int64_t n = 0; n < view.n; ++n) {
      const std::int64_t at = view.slab_offset(n, group);
      normalise(x + at, out[0].as<T>() + at, view, channels);
    }
  }
}

template <class T>
void forward_inference(Inputs in, Outputs out, const ChannelView& view, const float* rstd) {
  const Channels all{in[3].as<float>(), rstd, in[1].as<float>(), in[2].as<float>()};
  for (std::int64_t n = 0; n < view.n; ++n)
    for (std::int64_t group = 0; group < view.groups; ++group) {
      const std::int64_t at = view.slab_offset(n, group);
      normalise(in[0].as<T>() + at, out[0].as<T>() + at, view, all.of_group(group, view.block));
    }
}

/// rstd of the running statistics, in the workspace.
const float* running_rstd(OpContext& ctx, const ConstTensorView& var, std::byte* to) {
  auto* rstd = reinterpret_cast<float*>(to);
  for (std::int64_t c = 0; c < var.numel(); ++c)
    rstd[c] = rstd_of(static_cast<double>(var.as<float>()[c]), ctx.attributes);
  return rstd;
}

/// What one group needs for dx = scale * rstd * (dy - mean_dy - (x - mean) * slope).
struct GroupGradient {
  Channels channels;
  const float *mean_dy, *slope;
};

template <class T>
void write_dx(const T* x, const T* dy, T* dx, const ChannelView& view, const GroupGradient& g) {
  const Channels c = g.channels;
  const float *mean_dy = g.mean_dy, *slope = g.slope;
  for_each_in_slab(view.pixels, view.block, [=](std::int64_t i, std::int64_t b) {
    const float h = (static_cast<float>(x[i]) - c.mean[b]) * slope[b];
    dx[i] = T(c.scale[b] * c.rstd[b] * (static_cast<float>(dy[i]) - mean_dy[b] - h));
  });
}

void put(const TensorView& gradient, std::int64_t c, double value, bool add) {
  if (!gradient) return;
  float& to = gradient.as<float>()[c];
  to = static_cast<float>(add ? static_cast<double>(to) + value : value);
}

template <class T>
void backward(OpContext& ctx, const Channels& all, const T* x, const T* dy, Outputs out,
              const ChannelView& view, bool through_statistics) {
  auto* sums = reinterpret_cast<double*>(ctx.workspace.data());  // [2, block]
  auto* mean_dy = reinterpret_cast<float*>(sums + 2 * view.block);
  float* slope = mean_dy + view.block;
  const double count = static_cast<double>(view.n * view.pixels);
  for (std::int64_t group = 0; group < view.groups; ++group) {
    const Channels c = all.of_group(group, view.block);
    std::fill_n(sums, 2 * view.block, 0.0);
    for (std::int64_t n = 0; n < view.n; ++n) {
      const T *xs = x + view.slab_offset(n, group), *gs = dy + view.slab_offset(n, group);
      const float* mean = c.mean;
      add_channel_sums<2>(
          view.pixels, view.block, sums, [xs, gs, mean](std::int64_t i, std::int64_t b) {
            const float g = static_cast<float>(gs[i]);
            return std::array<float, 2>{g, g * (static_cast<float>(xs[i]) - mean[b])};
          });
    }
    for (std::int64_t b = 0; b < view.block; ++b) {
      const auto rstd = static_cast<double>(c.rstd[b]);
      const double products = sums[view.block + b];
      put(out[1], group * view.block + b, products * rstd, ctx.adds_to(1));
      put(out[2], group * view.block + b, sums[b], ctx.adds_to(2));
      mean_dy[b] = through_statistics ? static_cast<float>(sums[b] / count) : 0.0f;
      slope[b] = through_statistics ? static_cast<float>(products * rstd * rstd / count) : 0.0f;
    }
    if (!out[0]) continue;
    for (std::int64_t n = 0; n < view.n; ++n) {
      const std::int64_t at = view.slab_offset(n, group);
      write_dx(x + at, dy + at, out[0].as<T>() + at, view, GroupGradient{c, mean_dy, slope});
    }
  }
}

}  // namespace

std::unique_ptr<OpState> batch_norm_prepare_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  auto state = std::make_unique<State>();
  state->scratch_bytes =
      static_cast<std::size_t>(in[0].shape[1]) * kScratchPerChannel * sizeof(double);
  return state;
}

void batch_norm_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const ChannelView view = channel_view(in[0].type);
  with_float_type(in[0].type.dtype, [&]<class T>() {
    if (!training(ctx.attributes))
      forward_inference<T>(in, out, view, running_rstd(ctx, in[4], ctx.workspace.data()));
    else if (in[0].numel() == 0)
      copy_statistics(in, out);
    else
      forward_training<T>(ctx, in, out, view);
  });
}

void batch_norm_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  // in: x, scale, bias, mean, var, then y, dy or, in training, y, running_mean, running_var, m,
  // rstd, dy, ...
  const bool trained = training(ctx.attributes);
  const ConstTensorView &x = in[0], &dy = in[trained ? 10 : 6];
  const ChannelView view = channel_view(x.type);
  const std::size_t own_bytes =
      static_cast<std::size_t>(x.shape()[1]) * (kScratchPerChannel - 1) * sizeof(double);
  const Channels all =
      trained
          ? Channels{in[8].as<float>(), in[9].as<float>(), in[1].as<float>(), nullptr}
          : Channels{in[3].as<float>(), running_rstd(ctx, in[4], ctx.workspace.data() + own_bytes),
                     in[1].as<float>(), nullptr};
  with_float_type(x.type.dtype, [&]<class T>() {
    backward(ctx, all, x.as<T>(), dy.as<T>(), out, view, trained);
  });
}

}  // namespace phalanx
