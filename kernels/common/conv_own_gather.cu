// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/conv_own.hpp"
#include "common/conv_own_direct.hpp"
#include "common/conv_own_places.hpp"
#include "common/conv_own_tile.hpp"
#include "common/launch.hpp"

namespace phalanx::conv_own {
namespace {

struct GatherOperands : ConvOperands {
  bool is_backward;
  int images, group;
  int packed_depth;  // elements of a row of packed weights
  int tiles_down, tiles_across;
};

/// Walks along the depth of a product, channels of a cell first.
struct Walk {
  int channel, i = 0, j = 0;

  __device__ __forceinline__ void settle(int depth, int cells_across) {
    while (channel >= depth) {
      channel -= depth;
      if (++j == cells_across) {
        j = 0;
        ++i;
      }
    }
  }
};

/// The rows of the source's tile that a thread fills, one piece of each.
template <class T, class Tile, bool kRuns>
struct SourceRows {
  static constexpr int kRun = kPackElements<T>;
  static constexpr int kPasses = Tile::kRows * 4 / Tile::kThreads, kStep = Tile::kThreads / 4;
  const T* source;
  std::int64_t at[kPasses];
  int y[kPasses], x[kPasses];  // of the first cell
  Walk walk;
  int row, piece, first_channel;

  __device__ SourceRows(const GatherOperands& p, const Taps& h, const Taps& w, int g, int first)
      : source(static_cast<const T*>(p.source)), walk{0} {
    piece = static_cast<int>(threadIdx.x) % 4;
    row = static_cast<int>(threadIdx.x) / 4;
    first_channel = g * p.depth;
    const int rows = p.images * h.rows * w.rows;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int m = first + row + pass * kStep, line = m / w.rows, image = line / h.rows;
      // A row behind the last one lies outside of every image.
      y[pass] = m < rows ? h.at + (line - image * h.rows) * h.advance : -(1 << 30);
      x[pass] = w.at + (m - line * w.rows) * w.advance;
      at[pass] = image * p.from.image_stride +
                 static_cast<std::int64_t>(y[pass]) * p.from.row_stride +
                 static_cast<std::int64_t>(x[pass]) * p.from.pixel_stride;
    }
    walk.channel = piece * kRun;
    walk.settle(p.depth, w.count);
  }

  __device__ __forceinline__ bool is_inside(const GatherOperands& p, int pass, int dy, int dx) {
    return static_cast<unsigned>(y[pass] + dy) < static_cast<unsigned>(p.from.height) &&
           static_cast<unsigned>(x[pass] + dx) < static_cast<unsigned>(p.from.width);
  }

  /// Copies the next pieces.
  __device__ __forceinline__ void fill(const GatherOperands& p, const Taps& h, const Taps& w,
                                       unsigned char* tile) {
    if constexpr (kRuns) {
      const bool is_cell = walk.i < h.count;
      const int dy = walk.i * h.step, dx = walk.j * w.step;
      const std::int64_t offset = std::int64_t{dy} * p.from.row_stride + dx * p.from.pixel_stride +
                                  channel_offset(p.from, first_channel + walk.channel);
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) {
        const bool valid = is_cell && is_inside(p, pass, dy, dx);
        simt::copy_async<16>(tile + place_by_rows(row + pass * kStep, piece),
                             valid ? source + at[pass] + offset : source, valid ? 16 : 0);
      }
    } else {
      Pack<T, kRun> values[kPasses];
      Walk element = walk;
#pragma unroll
      for (int e = 0; e < kRun; ++e) {
        const bool is_cell = element.i < h.count;
        const int dy = element.i * h.step, dx = element.j * w.step;
        const std::int64_t offset = std::int64_t{dy} * p.from.row_stride +
                                    dx * p.from.pixel_stride +
                                    channel_offset(p.from, first_channel + element.channel);
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass)
          values[pass].v[e] =
              is_cell && is_inside(p, pass, dy, dx) ? source[at[pass] + offset] : from_f32<T>(0.0f);
        ++element.channel;
        element.settle(p.depth, w.count);
      }
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass)
        *reinterpret_cast<Pack<T, kRun>*>(tile + place_by_rows(row + pass * kStep, piece)) =
            values[pass];
    }
    walk.channel += kDepth<T>;
    walk.settle(p.depth, w.count);
  }
};

/// The same of the packed weights, whose rows have no end within the product's depth.
template <class T, class Tile>
struct WeightRows {
  static constexpr int kPasses = Tile::kColumns * 4 / Tile::kThreads, kStep = Tile::kThreads / 4;
  const T* at;
  std::int64_t pass_stride;
  int row, piece, rows;

  __device__ WeightRows(const GatherOperands& p, int slice, int first) {
    piece = static_cast<int>(threadIdx.x) % 4;
    row = static_cast<int>(threadIdx.x) / 4;
    rows = p.columns - first;
    at = static_cast<const T*>(p.packed) +
         (static_cast<std::int64_t>(slice) * p.columns + first + row) * p.packed_depth +
         piece * kPackElements<T>;
    pass_stride = static_cast<std::int64_t>(kStep) * p.packed_depth;
  }
  __device__ __forceinline__ void fill(const GatherOperands& p, unsigned char* tile) {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const bool valid = row + pass * kStep < rows;
      simt::copy_async<16>(tile + place_by_rows(row + pass * kStep, piece),
                           valid ? at + pass * pass_stride : static_cast<const T*>(p.packed),
                           valid ? 16 : 0);
    }
    at += kDepth<T>;
  }
};

template <class T, class Tile>
struct GatherMemory {
  static constexpr int kStageBytes = (Tile::kRows + Tile::kColumns) * kRowBytes;
  static constexpr int kPitch = Tile::kColumns + kPackElements<T>;  // of the results
  static constexpr int kPlacesBytes = Tile::kRows * 8;
  static constexpr int kBytes = std::max(
      kStages * kStageBytes, kPlacesBytes + Tile::kRows * kPitch * static_cast<int>(sizeof(T)));
};

/// Writes a tile of results [kRows][kPitch], the places of whose rows stand in `places`.
template <class T, class Tile>
__device__ void store_tile(const GatherOperands& p, const T* results, const std::int64_t* places,
                           int rows_left, int first_channel, int columns_left) {
  constexpr int kRun = kPackElements<T>, kPitch = GatherMemory<T, Tile>::kPitch;
  T* const target = static_cast<T*>(p.target);
  if (p.to.block % kRun == 0 && p.columns % kRun == 0) {
    constexpr int kRuns = Tile::kColumns / kRun;
    for (int i = static_cast<int>(threadIdx.x); i < Tile::kRows * kRuns; i += Tile::kThreads) {
      const int row = i / kRuns, column = i % kRuns * kRun;
      if (row >= rows_left || column >= columns_left) continue;
      *reinterpret_cast<Pack<T, kRun>*>(target + places[row] +
                                        channel_offset(p.to, first_channel + column)) =
          *reinterpret_cast<const Pack<T, kRun>*>(results + row * kPitch + column);
    }
    return;
  }
  const bool by_columns = p.to.block > 1;  // which of the two lie side by side
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kRows * Tile::kColumns;
       i += Tile::kThreads) {
    const int row = by_columns ? i / Tile::kColumns : i % Tile::kRows,
              column = by_columns ? i % Tile::kColumns : i / Tile::kRows;
    if (row < rows_left && column < columns_left)
      target[places[row] + channel_offset(p.to, first_channel + column)] =
          results[row * kPitch + column];
  }
}

/// Who       a block computes a tile of pixels x channels of one group and phase; blocks side by side share their pixels
/// Memory    tiles of the source and of the weights in shared memory, kStages of them under way; then the results, so that
///           they leave in runs of 16 bytes
/// Barriers  one a stage: behind it all have waited for their copies of this stage, and nobody reads the stage before, which
///           is filled next. One before the results overwrite the tiles, one before they are read
/// Bound     by tensor cores, or multiplications in f32, where depth and channels are large; else by bytes of the target
/// Sizes     any; with kRuns the channels of a group in the source come in runs of 16 bytes
template <class Math, class Tile, bool kRuns>
__global__ void __launch_bounds__(Tile::kThreads, kBlocks<Math, Tile>)
    conv_gather_kernel(GatherOperands p) {
  using T = typename Math::T;
  using Memory = GatherMemory<T, Tile>;
  SIMT_DYNAMIC_SHARED(unsigned char, shared);
  unsigned index = blockIdx.x;
  const int column0 = static_cast<int>(index % p.tiles_across) * Tile::kColumns;
  index /= p.tiles_across;
  const int row0 = static_cast<int>(index % p.tiles_down) * Tile::kRows;
  const int slice = static_cast<int>(index / p.tiles_down), g = slice % p.group,
            phase = slice / p.group;
  const Taps h = p.is_backward ? backward_taps(p.h, phase / p.w.stride) : forward_taps(p.h);
  const Taps w = p.is_backward ? backward_taps(p.w, phase % p.w.stride) : forward_taps(p.w);
  const int rows = p.images * h.rows * w.rows;
  if (row0 >= rows) return;

  RowProduct<Math, Tile> product;
  const int steps = (h.count * w.count * p.depth + kDepth<T> - 1) / kDepth<T>;
  if (steps > 0) {
    SourceRows<T, Tile, kRuns> source(p, h, w, g, row0);
    WeightRows<T, Tile> weights(p, slice, column0);
    const auto fill = [&](int step) {
      if (step < steps) {
        unsigned char* stage = shared + step % kStages * Memory::kStageBytes;
        source.fill(p, h, w, stage);
        weights.fill(p, stage + Tile::kRows * kRowBytes);
      }
      simt::commit_copies();
    };
    for (int step = 0; step < kStages - 1; ++step) fill(step);
    for (int step = 0; step < steps; ++step) {
      simt::wait_for_copies<kStages - 2>();
      __syncthreads();
      fill(step + kStages - 1);
      const unsigned char* stage = shared + step % kStages * Memory::kStageBytes;
      product.multiply(stage, stage + Tile::kRows * kRowBytes);
    }
    simt::wait_for_copies<0>();
    __syncthreads();
  }

  auto* const places = reinterpret_cast<std::int64_t*>(shared);
  T* const results = reinterpret_cast<T*>(shared + Memory::kPlacesBytes);
  const int first_channel = g * p.columns + column0;
  for (int row = static_cast<int>(threadIdx.x); row < Tile::kRows; row += Tile::kThreads) {
    const int m = row0 + row, line = m / w.rows, image = line / h.rows;
    const int y = h.target + (line - image * h.rows) * h.spread,
              x = w.target + (m - line * w.rows) * w.spread;
    places[row] = image * p.to.image_stride + static_cast<std::int64_t>(y) * p.to.row_stride +
                  x * p.to.pixel_stride;
  }
  product.each([&]<int count>(int row, int column, const float(&values)[count]) {
    Pack<T, count> pack;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const bool has_bias = p.bias != nullptr && column0 + column + i < p.columns;
      const float sum = has_bias ? values[i] + p.bias[first_channel + column + i] : values[i];
      pack.v[i] = from_f32<T>(p.relu && sum < 0.0f ? 0.0f : sum);  // NaN stays
    }
    *reinterpret_cast<Pack<T, count>*>(results + row * Memory::kPitch + column) = pack;
  });
  __syncthreads();
  store_tile<T, Tile>(p, results, places, rows - row0, first_channel, p.columns - column0);
}

// --- sizes

bool is_backward(Gather::Direction direction) { return direction == Gather::Direction::kBackward; }
int phases_of(const ConvShape& s, Gather::Direction direction) {
  return direction == Gather::Direction::kForward ? 1 : s.h.stride * s.w.stride;
}

std::int64_t padded_depth(const ConvShape& s, Gather::Direction direction, std::int64_t cells) {
  return round_up(cells * depth_of(s, is_backward(direction)),
                  kRowBytes / static_cast<int>(size_bytes(s.type)));
}
/// Elements of a row of weights: the depth of the phase with most cells.
int packed_depth(const ConvShape& s, Gather::Direction direction) {
  const auto most = [&](const ConvAxis& a) {
    return direction == Gather::Direction::kForward ? a.kernel : (a.kernel - 1) / a.period + 1;
  };
  return static_cast<int>(padded_depth(s, direction, std::int64_t{most(s.h)} * most(s.w)));
}
/// Elements of the rows of a column in all phases.
std::int64_t whole_depth(const ConvShape& s, Gather::Direction direction) {
  if (direction == Gather::Direction::kForward) return padded_depth(s, direction, s.cells());
  std::int64_t sum = 0;
  for (int h = 0; h < s.h.stride; ++h)
    for (int w = 0; w < s.w.stride; ++w)
      sum += padded_depth(s, direction,
                          std::int64_t{backward_taps(s.h, h).count} * backward_taps(s.w, w).count);
  return sum;
}

template <class Math, class Tile, bool kRuns>
void launch_tiles(const char* name, GatherOperands p, std::int64_t pixels, int slices,
                  BackendStream& stream) {
  p.tiles_down = static_cast<int>((pixels + Tile::kRows - 1) / Tile::kRows);
  p.tiles_across = (p.columns + Tile::kColumns - 1) / Tile::kColumns;
  const std::int64_t blocks = std::int64_t{p.tiles_down} * p.tiles_across * slices;
  if (blocks >= std::int64_t{1} << 31) throw Unsupported("conv: too many tiles for a GPU's grid");
  launch(name, conv_gather_kernel<Math, Tile, kRuns>, static_cast<unsigned>(blocks), Tile::kThreads,
         GatherMemory<typename Math::T, Tile>::kBytes, stream, p);
}

template <class Math>
void launch_gather(const char* name, const GatherOperands& p, std::int64_t pixels, int slices,
                   BackendStream& stream) {
  constexpr int kRun = kPackElements<typename Math::T>;
  // A tile twice as large does its products with less traffic, but leaves processors idle where it leaves too few blocks.
  constexpr std::int64_t kEnoughBlocks = 192;
  const auto blocks = [&](int rows, int columns) {
    return (pixels + rows - 1) / rows * ((p.columns + columns - 1) / columns) * slices;
  };
  using All = Tiles<Math>;
  if (p.depth % kRun != 0 || !p.from.has_runs_of(kRun))
    launch_tiles<Math, typename All::Small, false>(name, p, pixels, slices, stream);
  else if (p.columns > 64 && blocks(128, 128) >= kEnoughBlocks)
    launch_tiles<Math, typename All::Large, true>(name, p, pixels, slices, stream);
  else if (blocks(128, 64) >= kEnoughBlocks)
    launch_tiles<Math, typename All::Narrow, true>(name, p, pixels, slices, stream);
  else
    launch_tiles<Math, typename All::Small, true>(name, p, pixels, slices, stream);
}

}  // namespace

Gather::Gather(const ConvShape& shape, Direction direction) : shape_(shape), direction_(direction) {
  const std::int64_t columns = columns_of(shape, is_backward(direction)),
                     depth = std::int64_t{depth_of(shape, is_backward(direction))} * shape.cells();
  is_direct_ = is_direct(shape, columns * depth,
                         round_up(columns, kLeastColumns) * whole_depth(shape, direction));
}

std::size_t Gather::packed_bytes() const noexcept {
  const std::int64_t elements = is_direct_
                                    ? shape_.weights()
                                    : std::int64_t{phases_of(shape_, direction_)} * shape_.group *
                                          columns_of(shape_, is_backward(direction_)) *
                                          packed_depth(shape_, direction_);
  return static_cast<std::size_t>(elements) * size_bytes(shape_.type);
}

void Gather::pack(const float* w, void* packed, BackendStream& stream) const {
  const bool is_forward = direction_ == Direction::kForward;
  if (is_direct_)
    pack_direct(shape_, !is_forward, w, packed, stream);
  else if (is_forward)
    pack_rows(shape_, w, packed, packed_depth(shape_, direction_), stream);
  else
    pack_phases(shape_, w, packed, packed_depth(shape_, direction_), stream);
}

void Gather::run(const void* source, const void* packed, const float* bias, bool relu, void* target,
                 BackendStream& stream) const {
  const bool is_forward = direction_ == Direction::kForward;
  const ConvShape& s = shape_;
  if (is_direct_) {
    run_direct(s, !is_forward, source, packed, bias, relu, target, stream);
    return;
  }
  const GatherOperands p{operands_of(s, !is_forward, source, packed, bias, relu, target),
                         !is_forward, s.images, s.group, packed_depth(s, direction_)};
  // Of the first phase, which has most.
  const std::int64_t pixels = is_forward
                                  ? std::int64_t{s.images} * s.h.out * s.w.out
                                  : std::int64_t{s.images} * ((s.h.in - 1) / s.h.stride + 1) *
                                        ((s.w.in - 1) / s.w.stride + 1);
  const int slices = s.group * phases_of(s, direction_);
  const char* name = is_forward ? "conv_forward_gather" : "conv_backward_x_gather";
  if (s.type == DType::kBf16)
    launch_gather<Bf16Math>(name, p, pixels, slices, stream);
  else if (s.tf32)
    launch_gather<Tf32Math>(name, p, pixels, slices, stream);
  else
    launch_gather<F32Math>(name, p, pixels, slices, stream);
}

}  // namespace phalanx::conv_own
