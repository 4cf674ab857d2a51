// SPDX-License-Identifier: Apache-2.0
#include "dropout/dropout.hpp"

#include "common/device_copy.hpp"
#include "common/divisor.hpp"
#include "common/pack.hpp"
#include "core/rng.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 256;

/// What decides on the elements of a row, and by how much those that stay grow.
struct Mask {
  std::uint32_t key[2], counter[3];  // the counter of row 0 without its first word
  std::uint32_t threshold;
  float scale;
  const RandomPlace* place;

  /// To be called before anything is drawn.
  __device__ void find_place() {
    if (place == nullptr) return;
    counter[0] += static_cast<std::uint32_t>(place->first_row);
    counter[1] += static_cast<std::uint32_t>(place->step);
  }
  /// philox() of core/rng.hpp: the words of four elements of a row.
  __device__ void draw(std::uint32_t row, std::uint32_t quad, std::uint32_t* words) const {
    PhiloxState state{{quad, counter[0] + row, counter[1], counter[2]}, {key[0], key[1]}};
#pragma unroll
    for (int round = 0; round < kPhiloxRounds; ++round) state.round();
#pragma unroll
    for (int i = 0; i < 4; ++i) words[i] = state.word[i];
  }
  __device__ float apply(float x, std::uint32_t word) const {
    return word >= threshold ? x * scale : 0.0f;
  }
};

// --- plain memory: four neighbours share a counter

struct Rows {
  Divisor quads;                 // of a row, the last one of which may have less than four elements
  std::int64_t row_size, count;  // of quads
};

constexpr int kQuads = 4;

/// Who       each thread takes kQuads times the elements of one counter, a block's width apart
/// Memory    registers; each byte is read and written once
/// Barriers  none: y[i] depends on x[i] only, so that they may be the same
/// Bound     by bytes; of bf16 nearly as much by the ten rounds of Philox
/// Sizes     any; with kWhole the size of a row is a multiple of 4
template <bool kWhole, class T>
__global__ void __launch_bounds__(kThreads)
    dropout_in_order_kernel(const T* x, T* y, Rows rows, Mask mask) {
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads * kQuads) + threadIdx.x;
  mask.find_place();
  float v[kQuads][4];
#pragma unroll
  for (int u = 0; u < kQuads; ++u) {
    if (first + u * kThreads >= rows.count) continue;
    auto row = static_cast<std::uint64_t>(first + u * kThreads);
    const std::int64_t e = 4 * static_cast<std::int64_t>(rows.quads.take(row));
    const T* from = x + static_cast<std::int64_t>(row) * rows.row_size + e;
    if constexpr (kWhole) {
      load(from, v[u]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (e + i < rows.row_size) v[u][i] = to_f32(from[i]);
    }
  }
#pragma unroll
  for (int u = 0; u < kQuads; ++u) {
    if (first + u * kThreads >= rows.count) continue;
    auto row = static_cast<std::uint64_t>(first + u * kThreads);
    const std::uint32_t quad = rows.quads.take(row);
    const std::int64_t e = 4 * static_cast<std::int64_t>(quad);
    T* to = y + static_cast<std::int64_t>(row) * rows.row_size + e;
    std::uint32_t words[4];
    mask.draw(static_cast<std::uint32_t>(row), quad, words);
    if constexpr (kWhole) {
#pragma unroll
      for (int i = 0; i < 4; ++i) v[u][i] = mask.apply(v[u][i], words[i]);
      store(v[u], to);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (e + i < rows.row_size) to[i] = from_f32<T>(mask.apply(v[u][i], words[i]));
    }
  }
}

// --- blocks of channels: four neighbouring pixels of a channel share a counter, or two where rows of pixels are odd

struct Blocks {
  Divisor lanes, quads,
      groups;  // packs of channels of a block; fours of pixels of a plane; blocks of a sample
  std::int64_t pixels, block, row_size, count;
};

/// Who       a thread takes kWidth neighbouring channels of four neighbouring pixels
/// Memory    registers; each byte is read and written once, in accesses of kWidth elements
/// Barriers  none: y[i] depends on x[i] only, so that they may be the same
/// Bound     by bytes; by Philox, of which each channel needs two, without kAligned
/// Sizes     kWidth divides the block; with kAligned 4 divides the pixels
template <bool kAligned, int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    dropout_in_blocks_kernel(const T* x, T* y, Blocks blocks, Mask mask) {
  const std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (unit >= blocks.count) return;
  mask.find_place();
  auto row = static_cast<std::uint64_t>(unit);
  const std::int64_t b = static_cast<std::int64_t>(blocks.lanes.take(row)) * kWidth;
  const std::int64_t p = static_cast<std::int64_t>(blocks.quads.take(row)) * 4;
  const std::int64_t channel = static_cast<std::int64_t>(blocks.groups.take(row)) * blocks.block;
  const std::int64_t at = static_cast<std::int64_t>(row) * blocks.row_size +
                          channel * blocks.pixels + p * blocks.block + b;
  float v[4][kWidth];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (kAligned || p + i < blocks.pixels) load(x + at + i * blocks.block, v[i]);
#pragma unroll
  for (int w = 0; w < kWidth; ++w) {
    const std::int64_t e = (channel + b + w) * blocks.pixels + p;
    const auto quad = static_cast<std::uint32_t>(e / 4);
    std::uint32_t words[8];
    mask.draw(static_cast<std::uint32_t>(row), quad, words);
    if constexpr (!kAligned) {
      mask.draw(static_cast<std::uint32_t>(row), quad + 1, words + 4);
#pragma unroll
      for (int i = 0; i < 6; ++i) words[i] = (e & 1) != 0 ? words[i + 1] : words[i];
#pragma unroll
      for (int i = 0; i < 4; ++i) words[i] = (e & 2) != 0 ? words[i + 2] : words[i];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i][w] = mask.apply(v[i][w], words[i]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (kAligned || p + i < blocks.pixels) store(v[i], y + at + i * blocks.block);
}

void drop_in_order(const char* name, const OpContext& ctx, ConstTensorView x, TensorView y,
                   const Mask& mask) {
  const std::int64_t row_size = x.shape().product(1, x.shape().rank());
  const std::int64_t quads = (row_size + 3) / 4, count = x.shape()[0] * quads;
  with_cuda_type(x.type.dtype, [&]<class T>() {
    const auto kernel =
        row_size % 4 == 0 ? dropout_in_order_kernel<true, T> : dropout_in_order_kernel<false, T>;
    launch(name, kernel, blocks_for(count, kThreads * kQuads), kThreads, 0, ctx.stream, x.as<T>(),
           y.as<T>(), Rows{Divisor(quads), row_size, count}, mask);
  });
}

void drop_in_blocks(const char* name, const OpContext& ctx, ConstTensorView x, TensorView y,
                    const Mask& mask) {
  const Shape& shape = x.shape();
  const std::int64_t block = x.type.channel_block, groups = shape[1] / block,
                     pixels = shape[2] * shape[3], quads = (pixels + 3) / 4;
  with_cuda_type(x.type.dtype, [&]<class T>() {
    const auto run = [&]<int kWidth>() {
      const std::int64_t lanes = block / kWidth, count = shape[0] * groups * quads * lanes;
      const auto kernel = pixels % 4 == 0 ? dropout_in_blocks_kernel<true, kWidth, T>
                                          : dropout_in_blocks_kernel<false, kWidth, T>;
      launch(name, kernel, blocks_for(count, kThreads), kThreads, 0, ctx.stream, x.as<T>(),
             y.as<T>(),
             Blocks{Divisor(lanes), Divisor(quads), Divisor(groups), pixels, block,
                    shape[1] * pixels, count},
             mask);
    };
    if (block % kPackElements<T> == 0)
      run.template operator()<kPackElements<T>>();
    else
      run.template operator()<1>();
  });
}

void drop(const char* name, const OpContext& ctx, ConstTensorView x, TensorView y) {
  if (x.numel() == 0) return;
  const std::uint32_t threshold = dropout_threshold(ctx.attributes);
  if (threshold == 0) return copy_on_device(ctx, x, y);
  const auto [c1, c2, c3] = dropout_counter(ctx.random, 0);
  const double ratio = ctx.attributes.get_float("ratio", 0.5);
  const Mask mask{{static_cast<std::uint32_t>(ctx.random.seed),
                   static_cast<std::uint32_t>(ctx.random.seed >> 32)},
                  {c1, c2, c3},
                  threshold,
                  static_cast<float>(1.0 / (1.0 - ratio)),
                  ctx.random_place};
  if (x.type.channel_block == 1)
    drop_in_order(name, ctx, x, y, mask);
  else
    drop_in_blocks(name, ctx, x, y, mask);
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  drop("dropout_forward", ctx, in[0], out[0]);
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  if (out[0]) drop("dropout_backward", ctx, in[2], out[0]);  // in: x, y, dy
}

}  // namespace

extern const DeviceKernels dropout_cuda;
const DeviceKernels dropout_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
