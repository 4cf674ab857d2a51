// SPDX-License-Identifier: Apache-2.0
#include "common/conv_own_direct.hpp"

#include <algorithm>
#include <bit>

#include "common/conv_own_places.hpp"
#include "common/launch.hpp"
#include "common/pack.hpp"

namespace phalanx::conv_own {
namespace {

constexpr int kThreads = 256;

struct DirectOperands : ConvOperands {
  Divider width, height;  // of the target
  int pixels;
};

/// The place in the source at which a cell of the window meets place `at` of the target; outside of it if none does.
template <bool is_backward>
__device__ __forceinline__ int meeting_place(const ConvAxis& a, int at, int cell) {
  if constexpr (!is_backward) return at * a.stride - a.pad + cell * a.dilation;
  const int shifted = at + a.pad - cell * a.dilation;
  if (a.stride == 1) return shifted;
  return shifted >= 0 && shifted % a.stride == 0 ? shifted / a.stride : -1;
}

/// Who       each thread computes a run of channels of one pixel, or one channel
/// Memory    registers; neighbours share what they read in the L1 cache
/// Barriers  none
/// Bound     by bytes where groups have one channel, else by loads
/// Sizes     runs of several channels: as many in the source as in the target, one each a group, and runs in both
template <class T, int kRun, bool is_backward>
__global__ void __launch_bounds__(kThreads) conv_direct_kernel(DirectOperands p) {
  const auto channel = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kRun,
             pixel = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  if (channel >= p.to.channels || pixel >= p.pixels) return;
  const auto line = static_cast<int>(p.width.of(static_cast<std::uint32_t>(pixel))),
             image = static_cast<int>(p.height.of(static_cast<std::uint32_t>(line)));
  const int x = pixel - line * p.to.width, y = line - image * p.to.height;
  const int first = kRun > 1 ? channel : channel / p.columns * p.depth;  // channel of the source
  const int depth = kRun > 1 ? 1 : p.depth;

  const T* source = static_cast<const T*>(p.source) + image * p.from.image_stride;
  const T* packed = static_cast<const T*>(p.packed) + channel;
  float sums[kRun] = {};
  for (int r = 0; r < p.h.kernel; ++r) {
    const int from_y = meeting_place<is_backward>(p.h, y, r);
    if (static_cast<unsigned>(from_y) >= static_cast<unsigned>(p.from.height)) continue;
    for (int s = 0; s < p.w.kernel; ++s) {
      const int from_x = meeting_place<is_backward>(p.w, x, s);
      if (static_cast<unsigned>(from_x) >= static_cast<unsigned>(p.from.width)) continue;
      const T* at = source + from_y * p.from.row_stride + from_x * p.from.pixel_stride;
      const T* weights =
          packed + static_cast<std::int64_t>(r * p.w.kernel + s) * depth * p.to.channels;
#pragma unroll 1
      for (int k = 0; k < depth; ++k) {
        float values[kRun], factors[kRun];
        load(at + channel_offset(p.from, first + k), values);
        load(weights + k * p.to.channels, factors);
#pragma unroll
        for (int e = 0; e < kRun; ++e) sums[e] += values[e] * factors[e];
      }
    }
  }
  if (p.bias != nullptr) {
#pragma unroll
    for (int e = 0; e < kRun; ++e) sums[e] += p.bias[channel + e];
  }
  if (p.relu) {
#pragma unroll
    for (int e = 0; e < kRun; ++e) sums[e] = sums[e] < 0.0f ? 0.0f : sums[e];  // NaN stays
  }
  store(sums, static_cast<T*>(p.target) + image * p.to.image_stride + y * p.to.row_stride +
                  x * p.to.pixel_stride + channel_offset(p.to, channel));
}

struct DirectSumOperands {
  const void *x, *dy;
  float* sums;
  ConvImage x_image, y_image;
  ConvAxis h, w;
  int c_of_group, o_of_group;
  Divider width, height;  // of y
  int pixels, pixels_of_part;
  std::int64_t pitch;
};

constexpr int kLines = 8;

/// Who       a block takes 32 channels of y, one weight of each and a part of the pixels; a warp every kLines-th of them
/// Memory    a sum per thread in shared memory
/// Barriers  one, before the first warp adds the sums of all
/// Bound     by loads: each pixel is read once per weight of its channel, out of the L2 cache mostly
/// Sizes     any
template <class T>
__global__ void __launch_bounds__(32 * kLines) conv_direct_sum_kernel(DirectSumOperands p) {
  __shared__ float of_warps[kLines][32];
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int o = static_cast<int>(blockIdx.x) * 32 + lane, part = static_cast<int>(blockIdx.z);
  const int k = static_cast<int>(blockIdx.y), cell = k / p.c_of_group;
  const int dy_y = cell / p.w.kernel * p.h.dilation - p.h.pad,
            dx_x = cell % p.w.kernel * p.w.dilation - p.w.pad;
  float sum = 0.0f;
  if (o < p.y_image.channels) {
    const T* x = static_cast<const T*>(p.x) +
                 channel_offset(p.x_image, o / p.o_of_group * p.c_of_group + k % p.c_of_group);
    const T* dy = static_cast<const T*>(p.dy) + channel_offset(p.y_image, o);
    const int end = min(p.pixels, (part + 1) * p.pixels_of_part);
#pragma unroll 4
    for (int m = part * p.pixels_of_part + warp; m < end; m += kLines) {
      const auto line = static_cast<int>(p.width.of(static_cast<std::uint32_t>(m))),
                 image = static_cast<int>(p.height.of(static_cast<std::uint32_t>(line)));
      const int at_y = line - image * p.h.out, at_x = m - line * p.w.out;
      const int from_y = at_y * p.h.stride + dy_y, from_x = at_x * p.w.stride + dx_x;
      float value = 0.0f, gradient = 0.0f;
      if (static_cast<unsigned>(from_y) < static_cast<unsigned>(p.h.in) &&
          static_cast<unsigned>(from_x) < static_cast<unsigned>(p.w.in)) {
        value = to_f32(x[image * p.x_image.image_stride + from_y * p.x_image.row_stride +
                         from_x * p.x_image.pixel_stride]);
        gradient = to_f32(dy[image * p.y_image.image_stride + at_y * p.y_image.row_stride +
                             at_x * p.y_image.pixel_stride]);
      }
      sum += value * gradient;
    }
  }
  of_warps[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || o >= p.y_image.channels) return;
  for (int other = 1; other < kLines; ++other) sum += of_warps[other][lane];
  p.sums[(static_cast<std::int64_t>(part) * p.y_image.channels + o) * p.pitch + k] = sum;
}

template <class T, int kRun>
void launch_direct(const char* name, bool is_backward, const DirectOperands& p,
                   BackendStream& stream) {
  const unsigned runs = static_cast<unsigned>(p.to.channels / kRun),
                 across = std::min<unsigned>(kThreads, std::bit_ceil(runs)),
                 down = kThreads / across;
  const dim3 grid(blocks_for(p.pixels, down), blocks_for(runs, across));
  launch(name, is_backward ? conv_direct_kernel<T, kRun, true> : conv_direct_kernel<T, kRun, false>,
         grid, dim3(across, down), 0, stream, p);
}

}  // namespace

void run_direct(const ConvShape& s, bool is_backward, const void* source, const void* packed,
                const float* bias, bool relu, void* target, BackendStream& stream) {
  const ConvImage& to = is_backward ? s.x : s.y;
  const DirectOperands p{operands_of(s, is_backward, source, packed, bias, relu, target),
                         Divider(static_cast<std::uint32_t>(to.width)),
                         Divider(static_cast<std::uint32_t>(to.height)),
                         s.images * to.height * to.width};
  const char* name = is_backward ? "conv_backward_x_direct" : "conv_forward_direct";
  with_cuda_type(s.type, [&]<class T>() {
    constexpr int kRun = kPackElements<T>;
    const bool has_runs = p.depth == 1 && p.columns == 1 && p.from.has_runs_of(kRun) &&
                          to.has_runs_of(kRun) && to.channels % kRun == 0;
    if (has_runs)
      launch_direct<T, kRun>(name, is_backward, p, stream);
    else
      launch_direct<T, 1>(name, is_backward, p, stream);
  });
}

void sum_weights_direct(const ConvShape& s, const void* x, const void* dy, float* sums, int parts,
                        std::int64_t pitch, BackendStream& stream) {
  const int pixels = s.images * s.h.out * s.w.out;
  const DirectSumOperands p{.x = x,
                            .dy = dy,
                            .sums = sums,
                            .x_image = s.x,
                            .y_image = s.y,
                            .h = s.h,
                            .w = s.w,
                            .c_of_group = s.c_of_group(),
                            .o_of_group = s.o_of_group(),
                            .width = Divider(static_cast<std::uint32_t>(s.w.out)),
                            .height = Divider(static_cast<std::uint32_t>(s.h.out)),
                            .pixels = pixels,
                            .pixels_of_part = (pixels + parts - 1) / parts,
                            .pitch = pitch};
  const dim3 grid(blocks_for(s.y.channels, 32), static_cast<unsigned>(s.cells() * s.c_of_group()),
                  static_cast<unsigned>(parts));
  with_cuda_type(s.type, [&]<class T>() {
    launch("conv_backward_w_direct", conv_direct_sum_kernel<T>, grid, dim3(32, kLines), 0, stream,
           p);
  });
}

}  // namespace phalanx::conv_own
