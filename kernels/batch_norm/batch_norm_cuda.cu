// SPDX-License-Identifier: Apache-2.0
#include "common/channel_walk.hpp"
#include "common/scratch.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

/// Parts into which sums over the values of a channel are cut: so many that the blocks of all channels fill a GPU.
constexpr std::int64_t kSumBlocks = 512;
constexpr int kLeastItemsOfSum = 16;  // for a thread
/// A thread that computes element by element reads the constants of its channels first, and should then have some to do, but
/// not so much that blocks are few.
constexpr std::int64_t kElementBlocks = 2048;
constexpr std::int64_t kLeastItems = 4, kEnoughItems = 16;
constexpr std::int64_t kMostParts = 65535;

bool is_training(const Attributes& attributes) {
  return attributes.get_int("training_mode", 0) != 0;
}

// --- forward: statistics

/// How many values, their mean, and the sum of their squared deviations from it.
struct Moments {
  float count, mean, squares;

  /// Source    Chan, Golub, LeVeque 1979: Updating formulae and a pairwise algorithm for computing sample variances.
  __device__ static Moments join(Moments a, Moments b) {
    const float count = a.count + b.count, share = count > 0.0f ? b.count / count : 0.0f,
                delta = b.mean - a.mean;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
  }
};
__device__ __forceinline__ Moments from_lane(Moments v, int lane_xor) {
  return {phalanx::from_lane(v.count, lane_xor), phalanx::from_lane(v.mean, lane_xor),
          phalanx::from_lane(v.squares, lane_xor)};
}

/// The moments of kCount packs for each of the channels that a thread holds, in two passes.
template <int kCount, int kPack, bool kPlanes, class T>
__device__ __forceinline__ void add_moments(const HeldPacks<kCount, kPack, T>& x,
                                            Moments (&all)[kChannelsOfThread<kPack, kPlanes>]) {
  constexpr int kChannels = kChannelsOfThread<kPack, kPlanes>, kValues = kCount * kPack / kChannels;
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    const auto value = [&](int i) { return kPlanes ? x.at(i / kPack, i % kPack) : x.at(i, c); };
    Moments part{static_cast<float>(kValues), 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < kValues; ++i) part.mean += value(i);
    part.mean *= 1.0f / kValues;
#pragma unroll
    for (int i = 0; i < kValues; ++i)
      part.squares += (value(i) - part.mean) * (value(i) - part.mean);
    all[c] = Moments::join(all[c], part);
  }
}

/// Partial results [C, parts] in the workspace, two of them one behind the other.
struct Partials {
  float *first, *second;
  int parts;
  __device__ std::int64_t at(int channel) const {
    return static_cast<std::int64_t>(channel) * parts + blockIdx.y;
  }
};

/// Who       a block takes a tile of channels and a part of their values; see ChannelWalk
/// Memory    registers, and the moments of warps in shared memory; x is read once, by 16-byte accesses where a pack has 16
///           bytes
/// Barriers  that of join_teams
/// Bound     by bytes
/// Sizes     any
template <class T, int kPack, bool kPlanes>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    batch_norm_forward_moments_kernel(const T* __restrict__ x, ChannelWalk walk,
                                      Partials partials) {
  constexpr int kChannels = kChannelsOfThread<kPack, kPlanes>;
  __shared__ Moments shared[kTileWarps][kChannels][32];
  const ChannelThread<kPack, kPlanes> thread(walk);
  Moments all[kChannels];
#pragma unroll
  for (int c = 0; c < kChannels; ++c) all[c] = {0.0f, 0.0f, 0.0f};
  thread.template for_each_item<kItemsAtOnce<kPack>>([&]<int kCount>(int item) {
    HeldPacks<kCount, kPack, T> held;
#pragma unroll
    for (int u = 0; u < kCount; ++u)
      held.load(x + thread.base + walk.offset(item + u * thread.step), u);
    add_moments<kCount, kPack, kPlanes>(held, all);
  });
  join_teams<Moments>(walk.tile, all, shared);
  if (walk.tile.team() > 0 || !thread.has_channel) return;
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    partials.first[partials.at(thread.channel + c)] = all[c].mean;
    partials.second[partials.at(thread.channel + c)] = all[c].squares;
  }
}

/// What the second stage of the statistics reads and writes, [C] each.
struct Statistics {
  const float *old_mean, *old_variance;
  float *running_mean, *running_variance;  ///< may be the old ones
  float *mean, *rstd;
  double momentum, epsilon;
};

constexpr int kChannelThreads = 128;  // a warp for each channel

/// How many values of a channel a part has.
struct PartCounts {
  int items, part, of_item;
  __device__ double of(int p) const {
    return static_cast<double>(min(part, items - p * part)) * of_item;
  }
  __device__ double all() const { return static_cast<double>(items) * of_item; }
};

/// Who       a warp takes a channel, a lane every 32nd part of it
/// Memory    registers; double
/// Barriers  none
/// Bound     by latency
/// Sizes     any; without parts the running statistics stay as they are, and what is saved is 0
__global__ void __launch_bounds__(kChannelThreads)
    batch_norm_forward_statistics_kernel(Partials partials, PartCounts counts, int channels,
                                         Statistics s) {
  const int channel = static_cast<int>(blockIdx.x * (kChannelThreads / 32) + threadIdx.x / 32),
            lane = static_cast<int>(threadIdx.x % 32);
  if (channel >= channels) return;
  const float* means = partials.first + static_cast<std::int64_t>(channel) * partials.parts;
  const float* squares = partials.second + static_cast<std::int64_t>(channel) * partials.parts;
  double sum = 0, deviations = 0;
  for (int p = lane; p < partials.parts; p += 32)
    sum += counts.of(p) * static_cast<double>(means[p]);
  const double mean = join_lanes<Sum>(sum) / counts.all();
  for (int p = lane; p < partials.parts; p += 32) {
    const double off = static_cast<double>(means[p]) - mean;
    deviations += static_cast<double>(squares[p]) + counts.of(p) * off * off;
  }
  const double variance = join_lanes<Sum>(deviations) / counts.all();
  if (lane > 0) return;
  const bool empty = partials.parts == 0;
  const auto moved = [&](float old, double value) {
    return empty ? old
                 : static_cast<float>(s.momentum * static_cast<double>(old) +
                                      (1 - s.momentum) * value);
  };
  s.mean[channel] = empty ? 0.0f : static_cast<float>(mean);
  s.rstd[channel] = empty ? 0.0f : static_cast<float>(1.0 / sqrt(variance + s.epsilon));
  s.running_mean[channel] = moved(s.old_mean[channel], mean);
  s.running_variance[channel] = moved(s.old_variance[channel], variance);
}

// --- forward: y

/// The constants of channels; [C] each. rstd may be given as the variance that it comes from.
struct Channels {
  const float *mean, *rstd, *variance, *scale, *bias;
  float epsilon;

  template <int kCount>
  __device__ void load_rstd(int channel, float (&to)[kCount]) const {
    if (variance == nullptr) return load(rstd + channel, to);
    load(variance + channel, to);
#pragma unroll
    for (int c = 0; c < kCount; ++c) to[c] = 1.0f / sqrtf(to[c] + epsilon);
  }
};

/// Who       as batch_norm_forward_moments_kernel
/// Memory    registers; x is read and y written once, by 16-byte accesses where a pack has 16 bytes
/// Barriers  none: y may be x, for a thread writes what it has read
/// Bound     by bytes
/// Sizes     any
template <class T, int kPack, bool kPlanes>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    batch_norm_forward_values_kernel(const T* x, T* y, ChannelWalk walk, Channels channels) {
  constexpr int kChannels = kChannelsOfThread<kPack, kPlanes>;
  const ChannelThread<kPack, kPlanes> thread(walk);
  if (thread.begin >= thread.end) return;
  float mean[kChannels], factor[kChannels], scale[kChannels], bias[kChannels];
  load(channels.mean + thread.channel, mean);
  load(channels.scale + thread.channel, scale);
  load(channels.bias + thread.channel, bias);
  channels.load_rstd(thread.channel, factor);
#pragma unroll
  for (int c = 0; c < kChannels; ++c) factor[c] *= scale[c];
  thread.template for_each_item<kItemsAtOnce<kPack>>([&]<int kCount>(int item) {
    HeldPacks<kCount, kPack, T> held;
    std::int64_t at[kCount];
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      at[u] = thread.base + walk.offset(item + u * thread.step);
      held.load(x + at[u], u);
    }
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      float v[kPack];
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        const int c = kPlanes ? 0 : k;
        v[k] = (held.at(u, k) - mean[c]) * factor[c] + bias[c];
      }
      store(v, y + at[u]);
    }
  });
}

// --- backward: sums

/// Of dy, and of dy * (x - mean).
///
/// Who       as batch_norm_forward_moments_kernel
/// Memory    registers, and the sums of warps in shared memory; x and dy are read once
/// Barriers  that of join_teams
/// Bound     by bytes
/// Sizes     any
template <class T, int kPack, bool kPlanes>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    batch_norm_backward_sums_kernel(const T* __restrict__ x, const T* __restrict__ dy,
                                    const float* __restrict__ means, ChannelWalk walk,
                                    Partials partials) {
  constexpr int kChannels = kChannelsOfThread<kPack, kPlanes>;
  __shared__ float shared[kTileWarps][2 * kChannels][32];
  const ChannelThread<kPack, kPlanes> thread(walk);
  float mean[kChannels] = {}, sums[2 * kChannels] = {};
  if (thread.has_channel) load(means + thread.channel, mean);
  thread.template for_each_item<kItemsAtOnce<kPack> / 2>([&]<int kCount>(int item) {
    HeldPacks<kCount, kPack, T> held, held_dy;
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      const std::int64_t at = thread.base + walk.offset(item + u * thread.step);
      held.load(x + at, u);
      held_dy.load(dy + at, u);
    }
    float part[2 * kChannels] = {};
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        const int c = kPlanes ? 0 : k;
        const float g = held_dy.at(u, k);
        part[2 * c] += g;
        part[2 * c + 1] += g * (held.at(u, k) - mean[c]);
      }
    }
#pragma unroll
    for (int c = 0; c < 2 * kChannels; ++c) sums[c] += part[c];
  });
  join_teams<Sum>(walk.tile, sums, shared);
  if (walk.tile.team() > 0 || !thread.has_channel) return;
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    partials.first[partials.at(thread.channel + c)] = sums[2 * c];
    partials.second[partials.at(thread.channel + c)] = sums[2 * c + 1];
  }
}

/// What the second stage of the sums writes, [C] each. A gradient that nobody wants is null.
struct Gradients {
  float *dscale, *dbias;
  bool adds_dscale, adds_dbias;
  float *mean_dy, *slope;  ///< dx = scale * rstd * (dy - mean_dy - (x - mean) * slope)
};

__device__ __forceinline__ void put(float* to, double value, bool add) {
  if (to != nullptr) *to = static_cast<float>(add ? static_cast<double>(*to) + value : value);
}

/// Who       a warp takes a channel, a lane every 32nd part of it
/// Memory    registers; double
/// Barriers  none
/// Bound     by latency
/// Sizes     any; without parts all sums are 0
__global__ void __launch_bounds__(kChannelThreads)
    batch_norm_backward_gradients_kernel(Partials partials, PartCounts counts, int all_channels,
                                         Channels channels, Gradients gradients) {
  const int channel = static_cast<int>(blockIdx.x * (kChannelThreads / 32) + threadIdx.x / 32),
            lane = static_cast<int>(threadIdx.x % 32);
  if (channel >= all_channels) return;
  const std::int64_t first = static_cast<std::int64_t>(channel) * partials.parts;
  double sum = 0, products = 0;
  for (int p = lane; p < partials.parts; p += 32) {
    sum += static_cast<double>(partials.first[first + p]);
    products += static_cast<double>(partials.second[first + p]);
  }
  sum = join_lanes<Sum>(sum);
  products = join_lanes<Sum>(products);
  if (lane > 0) return;
  float of_channel[1];
  channels.load_rstd(channel, of_channel);
  const auto rstd = static_cast<double>(of_channel[0]);
  if (gradients.dscale != nullptr)
    put(gradients.dscale + channel, products * rstd, gradients.adds_dscale);
  if (gradients.dbias != nullptr) put(gradients.dbias + channel, sum, gradients.adds_dbias);
  gradients.mean_dy[channel] = static_cast<float>(sum / counts.all());
  gradients.slope[channel] = static_cast<float>(products * rstd * rstd / counts.all());
}

// --- backward: dx

/// With kTrained false dx = scale * rstd * dy, and x is not read.
///
/// Who       as batch_norm_forward_moments_kernel
/// Memory    registers; x and dy are read and dx written once
/// Barriers  none: dx may be dy, for a thread writes what it has read
/// Bound     by bytes
/// Sizes     any
template <class T, int kPack, bool kPlanes, bool kTrained>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    batch_norm_backward_values_kernel(const T* x, const T* dy, T* dx, ChannelWalk walk,
                                      Channels channels, const float* mean_dy,
                                      const float* slopes) {
  constexpr int kChannels = kChannelsOfThread<kPack, kPlanes>;
  const ChannelThread<kPack, kPlanes> thread(walk);
  if (thread.begin >= thread.end) return;
  float factor[kChannels], scale[kChannels], mean[kChannels], offset[kChannels], slope[kChannels];
  load(channels.scale + thread.channel, scale);
  channels.load_rstd(thread.channel, factor);
  if constexpr (kTrained) {
    load(channels.mean + thread.channel, mean);
    load(mean_dy + thread.channel, offset);
    load(slopes + thread.channel, slope);
  }
#pragma unroll
  for (int c = 0; c < kChannels; ++c) factor[c] *= scale[c];
  thread.template for_each_item<kItemsAtOnce<kPack> / 2>([&]<int kCount>(int item) {
    HeldPacks<kCount, kPack, T> held, held_dy;
    std::int64_t at[kCount];
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      at[u] = thread.base + walk.offset(item + u * thread.step);
      held_dy.load(dy + at[u], u);
      if constexpr (kTrained) held.load(x + at[u], u);
    }
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      float v[kPack];
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        const int c = kPlanes ? 0 : k;
        v[k] = held_dy.at(u, k);
        if constexpr (kTrained) v[k] -= offset[c] + (held.at(u, k) - mean[c]) * slope[c];
        v[k] *= factor[c];
      }
      store(v, dx + at[u]);
    }
  });
}

// --- from operators to kernels

/// The walk of a kernel that sums, and the one of a kernel that computes element by element.
template <int kPack, bool kPlanes>
ChannelWalk sum_walk(const ChannelView& view) {
  ChannelWalk walk = ChannelWalk::of<kPack, kPlanes>(view);
  const std::int64_t tiles = walk.groups * walk.tiles_of_group;
  walk.cut(kLeastItemsOfSum, std::max<std::int64_t>(1, kSumBlocks / tiles));
  return walk;
}
template <int kPack, bool kPlanes>
ChannelWalk element_walk(const ChannelView& view) {
  ChannelWalk walk = ChannelWalk::of<kPack, kPlanes>(view);
  const std::int64_t of_all = walk.groups * walk.tiles_of_group * walk.items,
                     teams = walk.tile.threads / walk.tile.lanes;
  walk.cut(std::clamp(of_all / (teams * kElementBlocks), kLeastItems, kEnoughItems), kMostParts);
  return walk;
}
template <int kPack, bool kPlanes>
PartCounts part_counts(const ChannelWalk& walk) {
  return {walk.items, walk.part, kPlanes ? kPack : 1};
}

/// The workspace: Partials and, behind them, mean_dy and slope.
Partials partials_of(const OpContext& ctx, std::int64_t channels, const ChannelWalk& walk) {
  auto* first = reinterpret_cast<float*>(ctx.workspace.data());
  return {first, first + channels * walk.parts, static_cast<int>(walk.parts)};
}

std::unique_ptr<OpState> prepare(const PrepareArguments& given) {
  std::size_t floats = 0;
  const ChannelView view = channel_view(given.in[0]);
  with_cuda_type(given.in[0].dtype, [&]<class T>() {
    with_channel_pack<T>(view, [&]<int kPack, bool kPlanes>() {
      const auto parts = static_cast<std::size_t>(sum_walk<kPack, kPlanes>(view).parts);
      floats = static_cast<std::size_t>(given.in[0].shape[1]) * (2 * parts + 2);
    });
  });
  return std::make_unique<Scratch>(floats * sizeof(float));
}

float epsilon(const OpContext& ctx) {
  return static_cast<float>(ctx.attributes.get_float("epsilon", 1e-5));
}

unsigned channel_blocks(std::int64_t channels) {
  return blocks_for(channels, kChannelThreads / 32);
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  const ChannelView view = channel_view(in[0].type);
  const std::int64_t c = in[0].shape()[1];
  const bool training = is_training(ctx.attributes);
  Channels channels{.scale = in[1].as<float>(), .bias = in[2].as<float>(), .epsilon = epsilon(ctx)};
  channels.mean = training ? out[3].as<float>() : in[3].as<float>();
  channels.rstd = training ? out[4].as<float>() : nullptr;
  channels.variance = training ? nullptr : in[4].as<float>();
  with_cuda_type(in[0].type.dtype, [&]<class T>() {
    const T* x = in[0].as<T>();
    with_channel_pack<T>(view, [&]<int kPack, bool kPlanes>() {
      if (training) {
        const ChannelWalk walk = sum_walk<kPack, kPlanes>(view);
        const Partials partials = partials_of(ctx, c, walk);
        launch("batch_norm_forward_moments", batch_norm_forward_moments_kernel<T, kPack, kPlanes>,
               walk.grid(), walk.tile.threads, 0, ctx.stream, x, walk, partials);
        const Statistics statistics{.old_mean = in[3].as<float>(),
                                    .old_variance = in[4].as<float>(),
                                    .running_mean = out[1].as<float>(),
                                    .running_variance = out[2].as<float>(),
                                    .mean = out[3].as<float>(),
                                    .rstd = out[4].as<float>(),
                                    .momentum = ctx.attributes.get_float("momentum", 0.9),
                                    .epsilon = ctx.attributes.get_float("epsilon", 1e-5)};
        launch("batch_norm_forward_statistics", batch_norm_forward_statistics_kernel,
               channel_blocks(c), kChannelThreads, 0, ctx.stream, partials,
               part_counts<kPack, kPlanes>(walk), static_cast<int>(c), statistics);
      }
      const ChannelWalk walk = element_walk<kPack, kPlanes>(view);
      launch("batch_norm_forward_values", batch_norm_forward_values_kernel<T, kPack, kPlanes>,
             walk.grid(), walk.tile.threads, 0, ctx.stream, x, out[0].as<T>(), walk, channels);
    });
  });
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  // in: x, scale, bias, mean, var, then y, dy or, in training, y, running_mean, running_var, m, rstd, dy, ...
  const bool trained = is_training(ctx.attributes);
  const ConstTensorView& dy = in[trained ? 10 : 6];
  const ChannelView view = channel_view(in[0].type);
  const std::int64_t c = in[0].shape()[1];
  const Channels channels{.mean = in[trained ? 8 : 3].as<float>(),
                          .rstd = trained ? in[9].as<float>() : nullptr,
                          .variance = trained ? nullptr : in[4].as<float>(),
                          .scale = in[1].as<float>(),
                          .epsilon = epsilon(ctx)};
  with_cuda_type(in[0].type.dtype, [&]<class T>() {
    const T *x = in[0].as<T>(), *g = dy.as<T>();
    with_channel_pack<T>(view, [&]<int kPack, bool kPlanes>() {
      const ChannelWalk sums = sum_walk<kPack, kPlanes>(view);
      const Partials partials = partials_of(ctx, c, sums);
      const Gradients gradients{.dscale = out[1].as<float>(),
                                .dbias = out[2].as<float>(),
                                .adds_dscale = ctx.adds_to(1),
                                .adds_dbias = ctx.adds_to(2),
                                .mean_dy = partials.second + c * sums.parts,
                                .slope = partials.second + c * (sums.parts + 1)};
      if (trained || out[1] || out[2]) {
        launch("batch_norm_backward_sums", batch_norm_backward_sums_kernel<T, kPack, kPlanes>,
               sums.grid(), sums.tile.threads, 0, ctx.stream, x, g, channels.mean, sums, partials);
        launch("batch_norm_backward_gradients", batch_norm_backward_gradients_kernel,
               channel_blocks(c), kChannelThreads, 0, ctx.stream, partials,
               part_counts<kPack, kPlanes>(sums), static_cast<int>(c), channels, gradients);
      }
      if (!out[0]) return;
      const ChannelWalk walk = element_walk<kPack, kPlanes>(view);
      const auto kernel = trained ? batch_norm_backward_values_kernel<T, kPack, kPlanes, true>
                                  : batch_norm_backward_values_kernel<T, kPack, kPlanes, false>;
      launch("batch_norm_backward_values", kernel, walk.grid(), walk.tile.threads, 0, ctx.stream, x,
             g, out[0].as<T>(), walk, channels, gradients.mean_dy, gradients.slope);
    });
  });
}

}  // namespace

extern const DeviceKernels batch_norm_cuda;
const DeviceKernels batch_norm_cuda = {.forward = forward,
                                       .backward = backward,
                                       .prepare_forward = prepare,
                                       .prepare_backward = prepare};

}  // namespace phalanx
