// SPDX-License-Identifier: Apache-2.0
#include "common/channel_tile.hpp"
#include "common/divisor.hpp"
#include "common/image.hpp"
#include "common/launch.hpp"
#include "common/rows.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

// --- forward, block of 1: a plane is a row of pixels

/// Who       each team of `lanes` lanes takes kRowsAtOnce planes, as far apart as the block has teams; a lane every lanes-th
///           pack
/// Memory    registers; each byte is read and written once
/// Barriers  none; all lanes of a warp shuffle, those without a plane too
/// Bound     by bytes
/// Sizes     planes of up to 32 * kPacks packs
template <int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    global_average_pool_forward_lanes_kernel(const T* __restrict__ x, T* __restrict__ y,
                                             RowsShape planes, float scale, int lanes) {
  constexpr int kRows = kRowsAtOnce<kPacks, kPack>;
  const RowTeam<kPacks> team(lanes);
  const int packs = static_cast<int>(planes.size) / kPack;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * team.teams() * kRows + team.team();
  float v[kRows][kPacks][kPack];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t plane = first + r * team.teams();
    load_row(team, plane < planes.count ? packs : 0, x + plane * planes.size, 0.0f, v[r]);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t plane = first + r * team.teams();
    const float sum = team.template join<Sum>(
        fold_row(team, packs, 0.0f, v[r], [](float a, float b) { return a + b; }));
    if (plane < planes.count && team.rank() == 0) y[plane] = from_f32<T>(sum * scale);
  }
}

/// Who       a block takes a plane, part by part, a thread every kLongRowThreads-th pack of a part
/// Memory    a part in registers, one double per warp in shared memory; each byte is read once. f32 within a part, double
///           beyond
/// Barriers  those of join_block
/// Bound     by bytes
/// Sizes     any
template <int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kLongRowThreads)
    global_average_pool_forward_parts_kernel(const T* __restrict__ x, T* __restrict__ y,
                                             RowsShape planes, float scale) {
  __shared__ double shared[kLongRowThreads / 32];
  const BlockTeam<kLongRowThreads, double> team{shared};
  x += blockIdx.x * planes.size;
  double sum = 0;
  for_each_part<kPacks, kPack>(planes.size, [&](int packs, std::int64_t begin) {
    float v[kPacks][kPack];
    load_row(team, packs, x + begin, 0.0f, v);
    sum +=
        static_cast<double>(fold_row(team, packs, 0.0f, v, [](float a, float b) { return a + b; }));
  });
  sum = team.template join<Sum>(sum);
  if (team.rank() == 0) y[blockIdx.x] = from_f32<T>(static_cast<float>(sum) * scale);
}

// --- forward, channels next to each other

constexpr int kPixelsAtOnce = 4;  // loads that a thread has under way

/// Who       a block takes a tile of neighbouring channels of one plane; see ChannelTile, rows being pixels
/// Memory    registers, and a warp's sums in shared memory; each byte is read once
/// Barriers  that of join_teams
/// Bound     by bytes
/// Sizes     any; kPack divides the block
template <int kPack, class T>
__global__ void __launch_bounds__(kTileThreads, kTileBlocksPerSm)
    global_average_pool_forward_tile_kernel(const T* __restrict__ x, T* __restrict__ y, int pixels,
                                            int block, float scale, ChannelTile tile) {
  __shared__ float shared[kTileWarps][kPack][32];
  const int packs = block / kPack;
  const std::int64_t tiles = (packs + tile.lanes - 1) / tile.lanes, plane = blockIdx.x / tiles;
  const int pack = static_cast<int>(blockIdx.x % tiles) * tile.lanes + tile.lane();
  x += plane * pixels * block + static_cast<std::int64_t>(pack) * kPack;
  float sum[kPack] = {};
  if (pack < packs)
    for (int p = tile.team(); p < pixels; p += tile.teams() * kPixelsAtOnce) {
      float v[kPixelsAtOnce][kPack] = {};
#pragma unroll
      for (int u = 0; u < kPixelsAtOnce; ++u) {
        const int pixel = p + u * tile.teams();
        if (pixel < pixels) load(x + static_cast<std::int64_t>(pixel) * block, v[u]);
      }
#pragma unroll
      for (int k = 0; k < kPack; ++k) sum[k] += (v[0][k] + v[1][k]) + (v[2][k] + v[3][k]);
    }
  join_teams<Sum>(tile, sum, shared);
#pragma unroll
  for (int k = 0; k < kPack; ++k) sum[k] *= scale;
  if (tile.team() == 0 && pack < packs)
    store(sum, y + plane * block + static_cast<std::int64_t>(pack) * kPack);
}

template <class T>
void forward_rows(const char* name, OpContext& ctx, const ImageSizes& size, float scale, const T* x,
                  T* y) {
  const RowsShape planes{size.planes(), size.pixels()};
  with_row_pack<T>(planes.size, [&]<int kPack>() {
    const RowPlan plan = RowPlan::of<kPack>(planes);
    const auto blocks = static_cast<unsigned>(plan.blocks);
    const auto launch_lanes = [&](auto kernel) {
      launch(name, kernel, blocks, kRowThreads, 0, ctx.stream, x, y, planes, scale, plan.lanes);
    };
    switch (plan.holder) {
      case RowHolder::kOnePack:
        return launch_lanes(global_average_pool_forward_lanes_kernel<1, kPack, T>);
      case RowHolder::kFew:
        return launch_lanes(global_average_pool_forward_lanes_kernel<kPacksOfFew<kPack>, kPack, T>);
      case RowHolder::kLanes:
        return launch_lanes(
            global_average_pool_forward_lanes_kernel<kPacksOfLane<kPack>, kPack, T>);
      case RowHolder::kBlock:
      case RowHolder::kNobody:
        return launch(name,
                      global_average_pool_forward_parts_kernel<kPacksOfThread<kPack>, kPack, T>,
                      blocks, kLongRowThreads, 0, ctx.stream, x, y, planes, scale);
    }
  });
}

template <class T>
void forward_tiles(const char* name, OpContext& ctx, const ImageSizes& size, float scale,
                   const T* x, T* y) {
  require<Unsupported>(
      size.pixels() <= std::numeric_limits<int>::max() - kTileThreads * kPixelsAtOnce,
      "the mean over an image of 2^31 pixels or more on a GPU");
  with_row_pack<T>(size.block, [&]<int kPack>() {
    const std::int64_t packs = size.block / kPack;
    const ChannelTile tile = ChannelTile::of(packs, size.pixels());
    launch(name, global_average_pool_forward_tile_kernel<kPack, T>,
           static_cast<unsigned>(size.planes() * tile.count(packs)), tile.threads, 0, ctx.stream, x,
           y, static_cast<int>(size.pixels()), static_cast<int>(size.block), scale, tile);
  });
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  if (in[0].numel() == 0) return;
  const ImageSizes size = image_sizes(in[0].type, in[0].type);
  const float scale = 1.0f / static_cast<float>(size.pixels());
  constexpr auto kName = "global_average_pool_forward";
  with_cuda_type(in[0].type.dtype, [&]<class T>() {
    if (size.block == 1)
      forward_rows(kName, ctx, size, scale, in[0].as<T>(), out[0].as<T>());
    else
      forward_tiles(kName, ctx, size, scale, in[0].as<T>(), out[0].as<T>());
  });
}

// --- backward

constexpr int kThreads = 256;

/// Where an element of dx lies, and its dy. Steps from one to the next cost no division.
struct GradientPlace {
  std::uint64_t plane;
  std::int64_t in_plane, plane_size;
  int b, block;

  __device__ GradientPlace(std::int64_t element, const Divisor& by_plane, const Divisor& by_block)
      : plane_size(static_cast<std::int64_t>(by_plane.size())),
        block(static_cast<int>(by_block.size())) {
    const auto at = static_cast<std::uint64_t>(element);
    plane = by_plane.quotient(at);
    const std::uint64_t rest = at - plane * by_plane.size();
    in_plane = static_cast<std::int64_t>(rest);
    b = static_cast<int>(rest - by_block.quotient(rest) * by_block.size());
  }
  __device__ std::int64_t dy() const { return static_cast<std::int64_t>(plane) * block + b; }
  __device__ void step() {
    if (++b == block) b = 0;
    if (++in_plane < plane_size) return;
    in_plane = 0;
    ++plane;
  }
};

/// Who       each thread takes a pack of neighbouring elements of dx: channels of one pixel where the block holds whole
///           packs, else pixels of one plane or of several
/// Memory    registers; dy is read from a cache, each byte of dx written once, by 16-byte accesses; the last threads write
///           the rest
/// Barriers  none
/// Bound     by bytes
/// Sizes     any
template <class T>
__global__ void __launch_bounds__(kThreads)
    global_average_pool_backward_kernel(const T* __restrict__ dy, T* __restrict__ dx,
                                        std::int64_t count, Divisor by_plane, Divisor by_block,
                                        float scale) {
  constexpr int kPack = kPackElements<T>;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x,
                     packs = count / kPack;
  if (thread < packs) {
    GradientPlace place(thread * kPack, by_plane, by_block);
    float v[kPack];
    if (place.block % kPack == 0) {
      load(dy + place.dy(), v);
    } else {
#pragma unroll
      for (int k = 0; k < kPack; ++k, place.step()) v[k] = to_f32(dy[place.dy()]);
    }
#pragma unroll
    for (int k = 0; k < kPack; ++k) v[k] *= scale;
    store(v, dx + thread * kPack);
  }
  const std::int64_t rest = packs * kPack + thread;
  if (thread < kPack && rest < count)
    dx[rest] = from_f32<T>(to_f32(dy[GradientPlace(rest, by_plane, by_block).dy()]) * scale);
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView& dy = in[2];  // in: x, y, dy
  if (!out[0] || out[0].numel() == 0) return;
  const ImageSizes size = image_sizes(out[0].type, out[0].type);
  const float scale = 1.0f / static_cast<float>(size.pixels());
  with_cuda_type(dy.type.dtype, [&]<class T>() {
    const std::int64_t count = out[0].numel();
    launch("global_average_pool_backward", global_average_pool_backward_kernel<T>,
           std::max(1u, blocks_for(count / kPackElements<T>, kThreads)), kThreads, 0, ctx.stream,
           dy.as<T>(), out[0].as<T>(), count, Divisor(size.plane_size()), Divisor(size.block),
           scale);
  });
}

}  // namespace

extern const DeviceKernels global_average_pool_cuda;
const DeviceKernels global_average_pool_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
