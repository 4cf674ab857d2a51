// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include "common/conv_own.hpp"
#include "common/conv_own_places.hpp"
#include "common/launch.hpp"
#include "common/pack.hpp"

namespace phalanx::conv_own {
namespace {

constexpr int kThreads = 256;

struct BiasOperands {
  const void* dy;
  float* sums;
  ConvImage image;
  Divider size;  // pixels of an image
  int pixels, pixels_of_part;
};

__device__ __forceinline__ std::int64_t pixel_offset(const BiasOperands& p, int m) {
  const auto image = static_cast<int>(p.size.of(static_cast<std::uint32_t>(m)));
  return image * p.image.image_stride +
         (m - image * static_cast<int>(p.size.divisor)) * p.image.pixel_stride;
}

/// Who       a block takes blockDim.x runs of channels and a part of the pixels; a line of threads every blockDim.y-th of them
/// Memory    the sums of the threads in shared memory
/// Barriers  one, before the first line adds the sums of all
/// Bound     by bytes
/// Sizes     channels in runs of 16 bytes
template <class T>
__global__ void __launch_bounds__(kThreads) conv_bias_runs_kernel(BiasOperands p) {
  constexpr int kRun = kPackElements<T>;
  __shared__ float of_threads[kThreads][kRun];
  const int channel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kRun;
  const int part = static_cast<int>(blockIdx.y), lines = static_cast<int>(blockDim.y),
            line = static_cast<int>(threadIdx.y), across = static_cast<int>(blockDim.x),
            lane = static_cast<int>(threadIdx.x);
  const int end = min(p.pixels, (part + 1) * p.pixels_of_part);
  float sums[kRun] = {};
  if (channel < p.image.channels) {
    const T* dy = static_cast<const T*>(p.dy) + channel_offset(p.image, channel);
#pragma unroll 4
    for (int m = part * p.pixels_of_part + line; m < end; m += lines) {
      float values[kRun];
      load(dy + pixel_offset(p, m), values);
#pragma unroll
      for (int e = 0; e < kRun; ++e) sums[e] += values[e];
    }
  }
#pragma unroll
  for (int e = 0; e < kRun; ++e) of_threads[line * across + lane][e] = sums[e];
  __syncthreads();
  if (line != 0 || channel >= p.image.channels) return;
  for (int other = 1; other < lines; ++other) {
#pragma unroll
    for (int e = 0; e < kRun; ++e) sums[e] += of_threads[other * across + lane][e];
  }
  float* to = p.sums + static_cast<std::int64_t>(part) * p.image.channels + channel;
#pragma unroll
  for (int e = 0; e < kRun; ++e) to[e] = sums[e];
}

/// Who       a block takes one channel and a part of the pixels, each thread every kThreads-th of them
/// Memory    a sum per warp in shared memory
/// Barriers  one, before the first thread adds the sums of the warps
/// Bound     by bytes where pixels lie side by side
/// Sizes     any
template <class T>
__global__ void __launch_bounds__(kThreads) conv_bias_channel_kernel(BiasOperands p) {
  __shared__ float of_warps[kThreads / 32];
  const int channel = static_cast<int>(blockIdx.x), part = static_cast<int>(blockIdx.y);
  const int end = min(p.pixels, (part + 1) * p.pixels_of_part);
  const T* dy = static_cast<const T*>(p.dy) + channel_offset(p.image, channel);
  float sum = 0.0f;
#pragma unroll 4
  for (int m = part * p.pixels_of_part + static_cast<int>(threadIdx.x); m < end; m += kThreads)
    sum += to_f32(dy[pixel_offset(p, m)]);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / 32; ++warp) sum += of_warps[warp];
  p.sums[static_cast<std::int64_t>(part) * p.image.channels + channel] = sum;
}

/// Who       a thread a channel
/// Memory    registers
/// Barriers  none: the order of the sum is that of the parts
/// Bound     by latency
/// Sizes     any
__global__ void __launch_bounds__(kThreads)
    conv_bias_sum_kernel(const float* __restrict__ sums, int parts, float* __restrict__ db,
                         bool adds, int channels) {
  const int channel = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (channel >= channels) return;
  float sum = 0.0f;
#pragma unroll 8
  for (int part = 0; part < parts; ++part) sum += sums[part * channels + channel];
  db[channel] = adds ? db[channel] + sum : sum;
}

int pixels_of(const ConvShape& s) { return s.images * s.h.out * s.w.out; }

struct Lanes {
  unsigned across = 1, down = 1;
  unsigned blocks = 1;
};
/// How a block's threads share the runs of a pixel; none if the channels do not come in runs.
Lanes lanes_of(const ConvShape& s) {
  const int run = 16 / static_cast<int>(size_bytes(s.type));
  if (!s.y.has_runs_of(run) || s.y.channels % run != 0) return {0, 0, 0};
  const auto runs = static_cast<unsigned>(s.y.channels / run);
  const unsigned across = std::min(32u, std::bit_ceil(runs));
  return {across, kThreads / across, (runs + across - 1) / across};
}

}  // namespace

BiasGradient::BiasGradient(const ConvShape& shape) : shape_(shape) {
  // The same on every GPU, as the order of sums is.
  constexpr int kWantedBlocks = 528, kLeastPixels = 32;
  const Lanes lanes = lanes_of(shape);
  const int blocks = lanes.across > 0 ? static_cast<int>(lanes.blocks) : shape.y.channels;
  const int most =
      pixels_of(shape) /
      (lanes.across > 0 ? kLeastPixels * static_cast<int>(lanes.down) : kLeastPixels * kThreads);
  parts_ = std::clamp(most, 1, std::max(1, kWantedBlocks / blocks));
}

std::size_t BiasGradient::workspace_bytes() const noexcept {
  return static_cast<std::size_t>(parts_) * static_cast<std::size_t>(shape_.y.channels) *
         sizeof(float);
}

void BiasGradient::run(const void* dy, float* db, bool adds, std::byte* workspace,
                       BackendStream& stream) const {
  const ConvShape& s = shape_;
  const BiasOperands p{dy,           reinterpret_cast<float*>(workspace),
                       s.y,          Divider(static_cast<std::uint32_t>(s.h.out * s.w.out)),
                       pixels_of(s), (pixels_of(s) + parts_ - 1) / parts_};
  const Lanes lanes = lanes_of(s);
  const auto parts = static_cast<unsigned>(parts_);
  with_cuda_type(s.type, [&]<class T>() {
    if (lanes.across > 0)
      launch("conv_backward_b", conv_bias_runs_kernel<T>, dim3(lanes.blocks, parts),
             dim3(lanes.across, lanes.down), 0, stream, p);
    else
      launch("conv_backward_b", conv_bias_channel_kernel<T>,
             dim3(static_cast<unsigned>(s.y.channels), parts), kThreads, 0, stream, p);
  });
  launch("conv_backward_b_sum", conv_bias_sum_kernel, blocks_for(s.y.channels, kThreads), kThreads,
         0, stream, p.sums, parts_, db, adds, s.y.channels);
}

}  // namespace phalanx::conv_own
