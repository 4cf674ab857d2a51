// SPDX-License-Identifier: Apache-2.0
#include "common/conv_own.hpp"
#include "common/conv_own_direct.hpp"
#include "common/conv_own_places.hpp"
#include "common/launch.hpp"
#include "common/pack.hpp"

namespace phalanx::conv_own {
namespace {

constexpr int kThreads = 256;

/// Who       a block takes a row of weights, of one channel of y
/// Memory    a row is read with the distance of a window between threads, out of the L1 cache mostly, and written in order
/// Barriers  none
/// Bound     by bytes
/// Sizes     any
template <class T>
__global__ void __launch_bounds__(kThreads)
    conv_pack_rows_kernel(const float* __restrict__ w, T* __restrict__ packed, int depth, int cells,
                          std::int64_t pitch) {
  const std::int64_t row = blockIdx.x;
  const float* from = w + row * depth * cells;
  for (int k = static_cast<int>(threadIdx.x); k < depth * cells; k += kThreads)
    packed[row * pitch + k] = from_f32<T>(from[k % depth * cells + k / depth]);
}

struct PhaseOperands {
  const float* w;
  void* packed;
  ConvAxis h, x;  // vertical, horizontal
  int group, c_of_group, o_of_group, pitch;
};

constexpr int kSide = 32;

/// Who       a block turns 32 channels of y x 32 neighbours of their rows, a warp a line of 32 at a time
/// Memory    the square in shared memory, so that reads and writes are in order; one column more keeps lines in other banks
/// Barriers  one, between the square's rows and its columns
/// Bound     by bytes
/// Sizes     any
template <class T>
__global__ void __launch_bounds__(kThreads) conv_pack_phases_kernel(PhaseOperands p) {
  __shared__ float square[kSide][kSide + 1];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int cells = p.h.kernel * p.x.kernel, length = p.c_of_group * cells;
  const int squares = (length + kSide - 1) / kSide;
  const int g = static_cast<int>(blockIdx.x) / squares,
            first = static_cast<int>(blockIdx.x) % squares * kSide;
  const int o0 = static_cast<int>(blockIdx.y) * kSide;
  for (int i = warp; i < kSide; i += kThreads / 32)
    if (o0 + i < p.o_of_group && first + lane < length)
      square[i][lane] =
          p.w[(static_cast<std::int64_t>(g) * p.o_of_group + o0 + i) * length + first + lane];
  __syncthreads();
  for (int i = warp; i < kSide; i += kThreads / 32) {
    if (first + i >= length || o0 + lane >= p.o_of_group) continue;
    const int c = (first + i) / cells, cell = (first + i) % cells, r = cell / p.x.kernel,
              s = cell % p.x.kernel;
    const int phase_h = phase_of(p.h, r), phase_x = phase_of(p.x, s);
    const int number = r / p.h.period * backward_taps(p.x, phase_x).count + s / p.x.period;
    const std::int64_t row =
        (static_cast<std::int64_t>(phase_h * p.x.stride + phase_x) * p.group + g) * p.c_of_group +
        c;
    static_cast<T*>(p.packed)[row * p.pitch + number * p.o_of_group + o0 + lane] =
        from_f32<T>(square[lane][i]);
  }
}

/// Who       each thread takes one element of the packed weights
/// Memory    registers
/// Barriers  none
/// Bound     by bytes; these are small windows of few channels
/// Sizes     below 2^31 weights
template <class T>
__global__ void __launch_bounds__(kThreads)
    conv_pack_direct_kernel(const float* __restrict__ w, T* __restrict__ packed, bool is_backward,
                            int cells, int c_of_group, int o_of_group, int group, int count) {
  const int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i >= count) return;
  const int columns = is_backward ? c_of_group : o_of_group,
            depth = is_backward ? o_of_group : c_of_group;
  const int channel = i % (columns * group), k = i / (columns * group) % depth,
            cell = i / (columns * group) / depth;
  const int g = channel / columns, column = channel % columns;
  const int o = g * o_of_group + (is_backward ? k : column), c = is_backward ? column : k;
  packed[i] = from_f32<T>(w[(static_cast<std::int64_t>(o) * c_of_group + c) * cells + cell]);
}

/// Who       each thread takes one weight
/// Memory    registers; parts are read in order, the gradient is written with the distance of a window between threads
/// Barriers  none: the order of the sum is that of the parts
/// Bound     by bytes
/// Sizes     below 2^31 weights
__global__ void __launch_bounds__(kThreads)
    conv_unpack_gradient_kernel(const float* __restrict__ sums, int parts, std::int64_t pitch,
                                std::int64_t part_stride, float* __restrict__ dw, bool adds,
                                int depth, int cells, int count) {
  const int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i >= count) return;
  const int length = depth * cells, o = i / length, k = i % length;
  const float* from = sums + o * pitch + k;
  float sum = 0.0f;
#pragma unroll 8
  for (int part = 0; part < parts; ++part) sum += from[part * part_stride];
  float* to = dw + static_cast<std::int64_t>(o) * length + k % depth * cells + k / depth;
  *to = adds ? *to + sum : sum;
}

}  // namespace

void pack_rows(const ConvShape& s, const float* w, void* packed, std::int64_t pitch,
               BackendStream& stream) {
  with_cuda_type(s.type, [&]<class T>() {
    launch("conv_pack_rows", conv_pack_rows_kernel<T>, static_cast<unsigned>(s.y.channels),
           kThreads, 0, stream, w, static_cast<T*>(packed), s.c_of_group(), s.cells(), pitch);
  });
}

void unpack_gradient(const ConvShape& s, const float* sums, int parts, std::int64_t pitch,
                     float* dw, bool adds, BackendStream& stream) {
  launch("conv_backward_w_sum", conv_unpack_gradient_kernel, blocks_for(s.weights(), kThreads),
         kThreads, 0, stream, sums, parts, pitch, pitch * s.y.channels, dw, adds, s.c_of_group(),
         s.cells(), static_cast<int>(s.weights()));
}

void pack_direct(const ConvShape& s, bool is_backward, const float* w, void* packed,
                 BackendStream& stream) {
  with_cuda_type(s.type, [&]<class T>() {
    launch("conv_pack_direct", conv_pack_direct_kernel<T>, blocks_for(s.weights(), kThreads),
           kThreads, 0, stream, w, static_cast<T*>(packed), is_backward, s.cells(), s.c_of_group(),
           s.o_of_group(), s.group, static_cast<int>(s.weights()));
  });
}

void pack_phases(const ConvShape& s, const float* w, void* packed, int pitch,
                 BackendStream& stream) {
  const PhaseOperands p{w, packed, s.h, s.w, s.group, s.c_of_group(), s.o_of_group(), pitch};
  const dim3 grid(
      static_cast<unsigned>(s.group) * blocks_for(std::int64_t{s.c_of_group()} * s.cells(), kSide),
      blocks_for(s.o_of_group(), kSide));
  with_cuda_type(s.type, [&]<class T>() {
    launch("conv_pack_phases", conv_pack_phases_kernel<T>, grid, kThreads, 0, stream, p);
  });
}

}  // namespace phalanx::conv_own
