// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/conv_own.hpp"
#include "common/conv_own_direct.hpp"
#include "common/conv_own_places.hpp"
#include "common/conv_own_tile.hpp"
#include "common/launch.hpp"

namespace phalanx::conv_own {
namespace {

struct WeightOperands {
  const void *x, *dy;
  float* sums;
  ConvImage x_image, y_image;
  ConvAxis h, w;
  Divider width, height;  // of y
  int c_of_group, o_of_group, group;
  int pixels, steps, steps_of_part;
  int tiles_down, tiles_across;
  std::int64_t pitch;
  bool dy_has_runs;
};

/// A pixel of y.
struct Pixel {
  int image, y, x;

  __device__ Pixel(const WeightOperands& p, int m) {
    const auto line = static_cast<int>(p.width.of(static_cast<std::uint32_t>(m)));
    image = static_cast<int>(p.height.of(static_cast<std::uint32_t>(line)));
    y = line - image * p.h.out;
    x = m - line * p.w.out;
  }
};

/// The pieces that a thread copies into a tile by pixels: one column of them.
template <class T, int kWidth, int kThreads>
struct Pieces {
  static constexpr int kRun = kPackElements<T>, kAcross = kWidth / kRun, kStep = kThreads / kAcross,
                       kPasses = kDepth<T> / kStep;
  int piece, pixel;
  __device__ Pieces()
      : piece(static_cast<int>(threadIdx.x) % kAcross),
        pixel(static_cast<int>(threadIdx.x) / kAcross) {}
};

/// Channels of dy.
template <class T, int kWidth, int kThreads>
struct GradientPieces : Pieces<T, kWidth, kThreads> {
  using Base = Pieces<T, kWidth, kThreads>;
  int channel, first;  // within the group, and the group's first

  __device__ GradientPieces(const WeightOperands& p, int g, int column0)
      : channel(column0 + Base::piece * Base::kRun), first(g * p.o_of_group) {}

  template <bool kRuns>
  __device__ __forceinline__ void fill(const WeightOperands& p, int m0, unsigned char* tile) const {
    const T* dy = static_cast<const T*>(p.dy);
#pragma unroll
    for (int pass = 0; pass < Base::kPasses; ++pass) {
      const int row = Base::pixel + pass * Base::kStep, m = m0 + row;
      const Pixel at(p, m);
      const std::int64_t offset = at.image * p.y_image.image_stride + at.y * p.y_image.row_stride +
                                  at.x * p.y_image.pixel_stride;
      unsigned char* to = tile + place_by_pixels<T, kWidth>(row, Base::piece);
      if (kRuns || p.dy_has_runs) {
        const bool valid = m < p.pixels && channel < p.o_of_group;
        simt::copy_async<16>(to,
                             valid ? dy + offset + channel_offset(p.y_image, first + channel) : dy,
                             valid ? 16 : 0);
      } else {
#pragma unroll 1
        for (int e = 0; e < Base::kRun; ++e)
          reinterpret_cast<T*>(to)[e] =
              m < p.pixels && channel + e < p.o_of_group
                  ? dy[offset + channel_offset(p.y_image, first + channel + e)]
                  : from_f32<T>(0.0f);
      }
    }
  }
};

/// One weight of a channel of y: where x lies under it, from the place of the window.
struct alignas(16) Weight {
  int y, x, offset, exists;

  __device__ __forceinline__ bool is_inside(const WeightOperands& p, int at_y, int at_x) const {
    return exists != 0 && static_cast<unsigned>(at_y) < static_cast<unsigned>(p.h.in) &&
           static_cast<unsigned>(at_x) < static_cast<unsigned>(p.w.in);
  }
};
__device__ __forceinline__ Weight weight_at(const WeightOperands& p, int g, int column) {
  const int cell = column / p.c_of_group;
  return {cell / p.w.kernel * p.h.dilation - p.h.pad, cell % p.w.kernel * p.w.dilation - p.w.pad,
          channel_offset(p.x_image, g * p.c_of_group + column % p.c_of_group),
          cell < p.h.kernel * p.w.kernel};
}

/// x under the windows of the pixels, in runs: the weights of a thread are the same for all pixels.
template <class T, int kWidth, int kThreads>
struct WindowPieces : Pieces<T, kWidth, kThreads> {
  using Base = Pieces<T, kWidth, kThreads>;
  Weight weight;

  __device__ WindowPieces(const WeightOperands& p, int g, int column0)
      : weight(weight_at(p, g, column0 + Base::piece * Base::kRun)) {}

  __device__ __forceinline__ void fill(const WeightOperands& p, int m0, unsigned char* tile) const {
    const T* x = static_cast<const T*>(p.x);
#pragma unroll
    for (int pass = 0; pass < Base::kPasses; ++pass) {
      const int row = Base::pixel + pass * Base::kStep, m = m0 + row;
      const Pixel at(p, m);
      const int at_y = at.y * p.h.stride + weight.y, at_x = at.x * p.w.stride + weight.x;
      const bool valid = m < p.pixels && weight.is_inside(p, at_y, at_x);
      const T* from = x + at.image * p.x_image.image_stride + at_y * p.x_image.row_stride +
                      at_x * p.x_image.pixel_stride + weight.offset;
      simt::copy_async<16>(tile + place_by_pixels<T, kWidth>(row, Base::piece), valid ? from : x,
                           valid ? 16 : 0);
    }
  }
};

/// The same one by one: a thread has one pixel of a stage, and neighbouring threads have neighbours.
template <class T, int kWidth, int kThreads>
struct WindowElements {
  const Weight* weights;  // of the tile's columns, in shared memory

  __device__ __forceinline__ void fill(const WeightOperands& p, int m0, unsigned char* tile) const {
    constexpr int kRun = kPackElements<T>, kStep = kThreads / kDepth<T>;
    const int row = static_cast<int>(threadIdx.x) % kDepth<T>, m = m0 + row;
    const Pixel at(p, m);
    const T* image = static_cast<const T*>(p.x) + at.image * p.x_image.image_stride;
#pragma unroll 4
    for (int column = static_cast<int>(threadIdx.x) / kDepth<T>; column < kWidth; column += kStep) {
      const Weight weight = weights[column];
      const int at_y = at.y * p.h.stride + weight.y, at_x = at.x * p.w.stride + weight.x;
      const bool valid = m < p.pixels && weight.is_inside(p, at_y, at_x);
      reinterpret_cast<T*>(tile + place_by_pixels<T, kWidth>(row, column / kRun))[column % kRun] =
          valid ? image[at_y * p.x_image.row_stride + at_x * p.x_image.pixel_stride + weight.offset]
                : from_f32<T>(0.0f);
    }
  }
};

template <class Tile>
inline constexpr int kWeightBytes = kStages*(Tile::kRows + Tile::kColumns) * kRowBytes;

/// Who       a block computes a tile of channels of y x weights of such a channel, over a part of the pixels of the batch
/// Memory    tiles of dy and of x in shared memory, kStages of them under way; without runs also where the weights lie
/// Barriers  one a stage: behind it all have waited for their copies of this stage, and nobody reads the stage before, which
///           is filled next. One before where the weights lie is read
/// Bound     by tensor cores, or multiplications in f32, where there are many channels; else by bytes
/// Sizes     any; with kRuns the channels of a group come in runs of 16 bytes in x and dy
template <class Math, class Tile, bool kRuns>
__global__ void __launch_bounds__(Tile::kThreads, kBlocks<Math, Tile>)
    conv_weights_kernel(WeightOperands p) {
  using T = typename Math::T;
  constexpr int kStageBytes = (Tile::kRows + Tile::kColumns) * kRowBytes;
  SIMT_DYNAMIC_SHARED(unsigned char, shared);
  unsigned index = blockIdx.x;
  const int column0 = static_cast<int>(index % p.tiles_across) * Tile::kColumns;
  index /= p.tiles_across;
  const int row0 = static_cast<int>(index % p.tiles_down) * Tile::kRows;
  index /= p.tiles_down;
  const int g = static_cast<int>(index) % p.group, part = static_cast<int>(index) / p.group;
  const int begin = part * p.steps_of_part, end = min(p.steps, begin + p.steps_of_part);

  PixelProduct<Math, Tile> product;
  const GradientPieces<T, Tile::kRows, Tile::kThreads> gradients(p, g, row0);
  const auto windows = [&] {
    if constexpr (kRuns) {
      return WindowPieces<T, Tile::kColumns, Tile::kThreads>(p, g, column0);
    } else {
      __shared__ Weight weights[Tile::kColumns];
      for (int i = static_cast<int>(threadIdx.x); i < Tile::kColumns; i += Tile::kThreads)
        weights[i] = weight_at(p, g, column0 + i);
      __syncthreads();
      return WindowElements<T, Tile::kColumns, Tile::kThreads>{weights};
    }
  }();
  const auto fill = [&](int step) {
    if (step < end) {
      unsigned char* stage = shared + step % kStages * kStageBytes;
      gradients.template fill<kRuns>(p, step * kDepth<T>, stage);
      windows.fill(p, step * kDepth<T>, stage + Tile::kRows * kRowBytes);
    }
    simt::commit_copies();
  };
  for (int step = begin; step < begin + kStages - 1; ++step) fill(step);
  for (int step = begin; step < end; ++step) {
    simt::wait_for_copies<kStages - 2>();
    __syncthreads();
    fill(step + kStages - 1);
    const unsigned char* stage = shared + step % kStages * kStageBytes;
    product.multiply(stage, stage + Tile::kRows * kRowBytes);
  }

  // Behind the last weight of a row there is room up to the pitch, a multiple of four.
  float* sums = p.sums + (static_cast<std::int64_t>(part) * p.group + g) * p.o_of_group * p.pitch;
  product.each([&]<int count>(int row, int column, const float(&values)[count]) {
    if (row0 + row < p.o_of_group && column0 + column < p.pitch)
      store(values, sums + (row0 + row) * p.pitch + column0 + column);
  });
}

// --- sizes

std::int64_t pitch_of(const ConvShape& s) { return round_up(s.c_of_group() * s.cells(), 4); }
int pixels_of(const ConvShape& s) { return s.images * s.h.out * s.w.out; }
bool runs_fit(const ConvShape& s) {
  const int run = 16 / static_cast<int>(size_bytes(s.type));
  return s.c_of_group() % run == 0 && s.x.has_runs_of(run) && s.o_of_group() % run == 0 &&
         s.y.has_runs_of(run);
}

/// Blocks that keep a GPU busy. The number of parts must not depend on the GPU, as the order of sums does not.
constexpr std::int64_t kWantedBlocks = 264, kWantedDirectBlocks = 2112;
constexpr int kLeastSteps = 8;

struct Blocking {
  int rows, columns;
};
Blocking blocking_of(const ConvShape& s) {
  const int rows = s.o_of_group(), columns = s.c_of_group() * s.cells();
  if (!runs_fit(s) || rows <= 64) return {64, 64};
  return columns <= 64 ? Blocking{128, 64} : Blocking{128, 128};
}

template <class Math, class Tile, bool kRuns>
void launch_weights(WeightOperands p, int parts, BackendStream& stream) {
  p.steps = (p.pixels + kDepth<typename Math::T> - 1) / kDepth<typename Math::T>;
  p.steps_of_part = (p.steps + parts - 1) / parts;
  p.tiles_down = (p.o_of_group + Tile::kRows - 1) / Tile::kRows;
  p.tiles_across = (p.c_of_group * p.h.kernel * p.w.kernel + Tile::kColumns - 1) / Tile::kColumns;
  const std::int64_t blocks = std::int64_t{p.tiles_down} * p.tiles_across * p.group * parts;
  launch("conv_backward_w", conv_weights_kernel<Math, Tile, kRuns>, static_cast<unsigned>(blocks),
         Tile::kThreads, kWeightBytes<Tile>, stream, p);
}

template <class Math>
void launch_weights(const WeightOperands& p, Blocking blocking, bool has_runs, int parts,
                    BackendStream& stream) {
  using All = Tiles<Math>;
  if (!has_runs) return launch_weights<Math, typename All::Small, false>(p, parts, stream);
  if (blocking.rows == 64) return launch_weights<Math, typename All::Small, true>(p, parts, stream);
  if (blocking.columns == 64)
    return launch_weights<Math, typename All::Narrow, true>(p, parts, stream);
  launch_weights<Math, typename All::Large, true>(p, parts, stream);
}

}  // namespace

WeightGradient::WeightGradient(const ConvShape& s) : shape_(s) {
  const std::int64_t rows = s.o_of_group(), columns = std::int64_t{s.c_of_group()} * s.cells();
  constexpr std::int64_t kMostGridRows = 65535;
  is_direct_ = columns <= kMostGridRows &&
               is_direct(s, rows * columns,
                         round_up(rows, kLeastColumns) * round_up(columns, kLeastColumns));
  const int depth = kRowBytes / static_cast<int>(size_bytes(s.type));
  const auto parts_for = [](std::int64_t wanted, std::int64_t blocks, std::int64_t most) {
    return static_cast<int>(
        std::clamp<std::int64_t>(most, 1, std::max<std::int64_t>(1, wanted / blocks)));
  };
  if (is_direct_) {
    constexpr int kLeastPixels = 256;
    parts_ = parts_for(kWantedDirectBlocks, (s.y.channels + 31) / 32 * columns,
                       pixels_of(s) / kLeastPixels);
    return;
  }
  const Blocking tile = blocking_of(s);
  const std::int64_t blocks = round_up(rows, tile.rows) / tile.rows *
                              (round_up(columns, tile.columns) / tile.columns) * s.group;
  parts_ = parts_for(kWantedBlocks, blocks, (pixels_of(s) + depth - 1) / depth / kLeastSteps);
}

std::size_t WeightGradient::workspace_bytes() const noexcept {
  return static_cast<std::size_t>(parts_ * pitch_of(shape_) * shape_.y.channels) * sizeof(float);
}

void WeightGradient::run(const void* x, const void* dy, float* dw, bool adds, std::byte* workspace,
                         BackendStream& stream) const {
  const ConvShape& s = shape_;
  auto* const sums = reinterpret_cast<float*>(workspace);
  if (is_direct_) {
    sum_weights_direct(s, x, dy, sums, parts_, pitch_of(s), stream);
  } else {
    const int run = 16 / static_cast<int>(size_bytes(s.type));
    const WeightOperands p{.x = x,
                           .dy = dy,
                           .sums = sums,
                           .x_image = s.x,
                           .y_image = s.y,
                           .h = s.h,
                           .w = s.w,
                           .width = Divider(static_cast<std::uint32_t>(s.w.out)),
                           .height = Divider(static_cast<std::uint32_t>(s.h.out)),
                           .c_of_group = s.c_of_group(),
                           .o_of_group = s.o_of_group(),
                           .group = s.group,
                           .pixels = pixels_of(s),
                           .pitch = pitch_of(s),
                           .dy_has_runs = s.o_of_group() % run == 0 && s.y.has_runs_of(run)};
    const Blocking tile = blocking_of(s);
    if (s.type == DType::kBf16)
      launch_weights<Bf16Math>(p, tile, runs_fit(s), parts_, stream);
    else if (s.tf32)
      launch_weights<Tf32Math>(p, tile, runs_fit(s), parts_, stream);
    else
      launch_weights<F32Math>(p, tile, runs_fit(s), parts_, stream);
  }
  unpack_gradient(s, sums, parts_, pitch_of(s), dw, adds, stream);
}

}  // namespace phalanx::conv_own
