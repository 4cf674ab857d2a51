// SPDX-License-Identifier: Apache-2.0
/// Copies in which the axes of a tensor change places.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <type_traits>

#include "common/device_copy.hpp"
#include "common/divisor.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// How the elements of a contiguous output lie in a contiguous input: its axes, outermost first, with the distance between
/// neighbours in the input.
struct AxisPermutation {
  struct Axis {
    std::int64_t size = 1, from = 0;
  };
  std::array<Axis, Shape::kMaxRank + 1> axes{};
  int count = 0;

  /// The next axis inwards. Those of one element vanish, and what lies in one piece on both sides becomes one axis.
  void add(std::int64_t size, std::int64_t from) noexcept {
    if (size == 1) return;
    if (count > 0 && axes[count - 1].from == from * size)
      axes[count - 1] = {axes[count - 1].size * size, from};
    else
      axes[count++] = {size, from};
  }
  const Axis& inner() const noexcept { return axes[count - 1]; }
  std::int64_t numel() const noexcept {
    std::int64_t n = 1;
    for (int i = 0; i < count; ++i) n *= axes[i].size;
    return n;
  }
};

namespace permute {

inline constexpr int kThreads = 256;

/// Bytes that are moved as one.
template <std::size_t kBytes>
struct UnitOf;
template <>
struct UnitOf<2> {
  using Type = std::uint16_t;
};
template <>
struct UnitOf<4> {
  using Type = std::uint32_t;
};
template <>
struct UnitOf<8> {
  using Type = uint2;
};
template <>
struct UnitOf<16> {
  using Type = uint4;
};

/// An axis that a place is divided by; distances between neighbours on both sides.
struct Axis {
  Divisor size;
  std::int64_t from = 0, to = 0;
};

// --- place by place

struct Gather {
  Axis axes[Shape::kMaxRank + 1];  // of the output; distances in the input
  int count;
  std::int64_t units;
};

inline constexpr int kGatherUnroll = 4;

/// Who       each thread takes kGatherUnroll units of the output, a block's width apart
/// Memory    registers; writes are contiguous, reads as far as the innermost axis is the same on both sides
/// Barriers  none
/// Bound     by bytes, if what lies in one piece on both sides fills sectors of 32 bytes, or the cache holds what it does not
/// Sizes     any
template <class Unit>
__global__ void __launch_bounds__(kThreads)
    permute_gather_kernel(const Unit* __restrict__ from, Unit* __restrict__ to,
                          const __grid_constant__ Gather gather) {
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads * kGatherUnroll) + threadIdx.x;
  Unit units[kGatherUnroll];
#pragma unroll
  for (int u = 0; u < kGatherUnroll; ++u) {
    if (first + u * kThreads >= gather.units) continue;
    auto place = static_cast<std::uint64_t>(first + u * kThreads);
    std::int64_t at = 0;
    for (int axis = gather.count - 1; axis > 0; --axis)
      at += gather.axes[axis].size.take(place) * gather.axes[axis].from;
    units[u] = from[at + static_cast<std::int64_t>(place) * gather.axes[0].from];
  }
#pragma unroll
  for (int u = 0; u < kGatherUnroll; ++u)
    if (first + u * kThreads < gather.units) to[first + u * kThreads] = units[u];
}

template <class Unit>
void run_gather(const char* name, const OpContext& ctx, const void* from, void* to,
                const AxisPermutation& p) {
  Gather gather{{}, p.count, p.numel()};
  for (int i = 0; i < p.count; ++i) gather.axes[i] = {Divisor(p.axes[i].size), p.axes[i].from, 0};
  launch(name, permute_gather_kernel<Unit>, blocks_for(gather.units, kThreads * kGatherUnroll),
         kThreads, 0, ctx.stream, static_cast<const Unit*>(from), static_cast<Unit*>(to), gather);
}

// --- tile by tile

/// Cells of a matrix that becomes another by exchange of its rows [q] and columns [p].
template <class UnitType>
struct SingleCell {
  using Unit = UnitType;
  using Slot = std::conditional_t<sizeof(Unit) == 2, std::uint32_t, Unit>;  // in shared memory
  static constexpr int kSide = 1;
  __device__ static Slot load(const Unit* from, int) { return *from; }
  __device__ static void store(Slot cell, Unit* to, int) { *to = static_cast<Unit>(cell); }
};
/// 2 x 2 elements of two bytes, so that accesses are of four bytes on both sides.
struct PairCell {
  using Unit = std::uint16_t;
  using Slot = uint2;
  static constexpr int kSide = 2;
  __device__ static Slot load(const Unit* from, int row) {
    const auto a = *reinterpret_cast<const std::uint32_t*>(from),
               b = *reinterpret_cast<const std::uint32_t*>(from + row);
    return make_uint2((a & 0xffffu) | b << 16, a >> 16 | (b & 0xffff0000u));
  }
  __device__ static void store(Slot cell, Unit* to, int row) {
    *reinterpret_cast<std::uint32_t*>(to) = cell.x;
    *reinterpret_cast<std::uint32_t*>(to + row) = cell.y;
  }
};

template <class Cell>
inline constexpr int kCellsPerThread = sizeof(typename Cell::Slot) <= 4 ? 8 : 4;

/// Many matrices. Sizes in cells, distances between rows in elements.
struct Tiles {
  std::int64_t size_q, size_p;  // q: the innermost axis of the output; p: that of the input
  int from_q, to_p;             // distance between rows of the input, and of the output
  int log_q, log_p;             // of the sides of a tile
  int pitch;                    // of a tile in shared memory
  Divisor tiles_q, tiles_p;     // of a matrix
  Axis outer[Shape::kMaxRank];
  int outer_count;
};

/// Who       a block takes a tile: reads its rows, and writes its columns
/// Memory    the tile in shared memory, whose pitch spreads rows and columns over the banks; each byte is read and written once
/// Barriers  one, between the writes to the tile and the reads by other threads
/// Bound     by bytes, where both sides of the matrix fill a sector of 32 bytes, or the matrix is contiguous
/// Sizes     any
template <class Cell>
__global__ void __launch_bounds__(kThreads)
    permute_tiles_kernel(const typename Cell::Unit* __restrict__ from,
                         typename Cell::Unit* __restrict__ to,
                         const __grid_constant__ Tiles tiles) {
  using Slot = typename Cell::Slot;
  SIMT_DYNAMIC_SHARED(Slot, tile);
  constexpr int kCells = kCellsPerThread<Cell>;
  std::uint64_t place = blockIdx.x;
  const std::int64_t first_p = static_cast<std::int64_t>(tiles.tiles_p.take(place)) << tiles.log_p;
  const std::int64_t first_q = static_cast<std::int64_t>(tiles.tiles_q.take(place)) << tiles.log_q;
  for (int axis = tiles.outer_count - 1; axis >= 0; --axis) {
    const std::int64_t i = tiles.outer[axis].size.take(place);
    from += i * tiles.outer[axis].from;
    to += i * tiles.outer[axis].to;
  }
  from += (first_q * tiles.from_q + first_p) * Cell::kSide;
  to += (first_p * tiles.to_p + first_q) * Cell::kSide;
  const std::int64_t side_p = 1 << tiles.log_p, side_q = 1 << tiles.log_q;
  const auto sizes_p = static_cast<int>(min(side_p, tiles.size_p - first_p)),
             sizes_q = static_cast<int>(min(side_q, tiles.size_q - first_q));

  Slot slots[kCells];
#pragma unroll
  for (int k = 0; k < kCells; ++k) {
    const int i = k * kThreads + static_cast<int>(threadIdx.x);
    const int q = i >> tiles.log_p, p = i & ((1 << tiles.log_p) - 1);
    if (p < sizes_p && q < sizes_q)
      slots[k] = Cell::load(
          from + static_cast<std::int64_t>(q * Cell::kSide) * tiles.from_q + p * Cell::kSide,
          tiles.from_q);
  }
#pragma unroll
  for (int k = 0; k < kCells; ++k) {
    const int i = k * kThreads + static_cast<int>(threadIdx.x);
    const int q = i >> tiles.log_p, p = i & ((1 << tiles.log_p) - 1);
    if (p < sizes_p && q < sizes_q) tile[q * tiles.pitch + p] = slots[k];
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kCells; ++k) {
    const int i = k * kThreads + static_cast<int>(threadIdx.x);
    const int p = i >> tiles.log_q, q = i & ((1 << tiles.log_q) - 1);
    if (p < sizes_p && q < sizes_q)
      Cell::store(tile[q * tiles.pitch + p],
                  to + static_cast<std::int64_t>(p * Cell::kSide) * tiles.to_p + q * Cell::kSide,
                  tiles.to_p);
  }
}

inline int log_of_side(std::int64_t size) {
  int log = 0;
  while ((std::int64_t{1} << log) < size) ++log;
  return log;
}

template <class Cell>
void run_tiles(const char* name, const OpContext& ctx, const void* from, void* to,
               const AxisPermutation& p) {
  Tiles tiles{};
  std::int64_t matrices = 1, distance = 1;  // between neighbours in the output
  for (int i = p.count - 1; i >= 0; --i) {
    const auto& [size, from_distance] = p.axes[i];
    if (i == p.count - 1) {
      tiles.size_q = size / Cell::kSide;
      tiles.from_q = static_cast<int>(from_distance);
    } else if (from_distance == 1) {
      tiles.size_p = size / Cell::kSide;
      tiles.to_p = static_cast<int>(distance);
    } else {
      tiles.outer[tiles.outer_count++] = {Divisor(size), from_distance, distance};
      matrices *= size;
    }
    distance *= size;
  }
  std::reverse(tiles.outer, tiles.outer + tiles.outer_count);

  // As many cells as the threads take: 32 of a row of the output, and the more of the input. A side that is shorter gives the
  // rest to the other.
  constexpr int kLogCells = kCellsPerThread<Cell> == 8 ? 11 : 10;
  static_assert(1 << kLogCells == kThreads * kCellsPerThread<Cell>);
  const int whole_q = log_of_side(tiles.size_q), whole_p = log_of_side(tiles.size_p);
  tiles.log_q = std::min(whole_q, std::max(5, kLogCells - whole_p));
  tiles.log_p = std::min(whole_p, kLogCells - tiles.log_q);
  // A warp reads 32 cells of a column, or some of each of several columns that begin as many banks apart.
  tiles.pitch = (1 << tiles.log_p) + (tiles.log_q >= 5 ? 1 : 32 >> tiles.log_q);
  const std::int64_t tiles_q = (tiles.size_q + (1 << tiles.log_q) - 1) >> tiles.log_q,
                     tiles_p = (tiles.size_p + (1 << tiles.log_p) - 1) >> tiles.log_p;
  tiles.tiles_q = Divisor(tiles_q);
  tiles.tiles_p = Divisor(tiles_p);
  using Unit = typename Cell::Unit;
  launch(name, permute_tiles_kernel<Cell>, blocks_for(matrices * tiles_q * tiles_p, 1), kThreads,
         sizeof(typename Cell::Slot) * static_cast<std::size_t>(tiles.pitch << tiles.log_q),
         ctx.stream, static_cast<const Unit*>(from), static_cast<Unit*>(to), tiles);
}

/// Elements along the innermost axis become one element of `factor` times the size.
inline AxisPermutation widened(AxisPermutation p, std::int64_t factor) {
  AxisPermutation wide;
  for (int i = 0; i + 1 < p.count; ++i) wide.add(p.axes[i].size, p.axes[i].from / factor);
  wide.add(p.inner().size / factor, 1);
  return wide;
}

/// Whether a permutation exchanges rows and columns of matrices that are worth tiles: smaller ones stay in the cache that a
/// gather reads from.
inline bool wants_tiles(const AxisPermutation& p, std::int64_t& size_p) {
  constexpr std::int64_t kLeastMatrix = 256, kLargestDistance = std::int64_t{1} << 30;
  if (p.inner().from == 1) return false;
  std::int64_t distance = 1;  // in the output
  for (int i = p.count - 1; p.axes[i].from != 1; --i) distance *= p.axes[i].size;
  for (int i = 0; i < p.count; ++i)
    if (p.axes[i].from == 1) size_p = p.axes[i].size;
  return size_p * p.inner().size >= kLeastMatrix && p.inner().from <= kLargestDistance &&
         distance <= kLargestDistance;
}

template <class Unit>
void run_unit(const char* name, const OpContext& ctx, const void* from, void* to,
              const AxisPermutation& p) {
  std::int64_t size_p = 1;
  if (!wants_tiles(p, size_p)) return run_gather<Unit>(name, ctx, from, to, p);
  if constexpr (sizeof(Unit) == 2) {
    if (size_p % 2 == 0 && p.inner().size % 2 == 0)
      return run_tiles<PairCell>(name, ctx, from, to, p);
  }
  run_tiles<SingleCell<Unit>>(name, ctx, from, to, p);
}

}  // namespace permute

/// Enqueues the copy of elements of 2 or 4 bytes; `from` and `to` begin at multiples of 16 bytes and do not overlap.
inline void permute_on_device(const char* name, const OpContext& ctx, const void* from, void* to,
                              std::size_t element_bytes, AxisPermutation p) {
  const std::int64_t count = p.numel();
  if (count == 0) return;
  if (p.count == 0 || (p.count == 1 && p.inner().from == 1))
    return copy_on_device(ctx, from, to, static_cast<std::size_t>(count) * element_bytes);
  // What lies in one piece on both sides moves in units as large as an access can be.
  std::size_t unit_bytes = element_bytes;
  if (p.inner().from == 1) {
    const std::size_t piece = static_cast<std::size_t>(p.inner().size) * element_bytes;
    while (unit_bytes < 16 && piece % (2 * unit_bytes) == 0) unit_bytes *= 2;
    p = permute::widened(p, static_cast<std::int64_t>(unit_bytes / element_bytes));
  }
  switch (unit_bytes) {
    case 2: return permute::run_unit<permute::UnitOf<2>::Type>(name, ctx, from, to, p);
    case 4: return permute::run_unit<permute::UnitOf<4>::Type>(name, ctx, from, to, p);
    case 8: return permute::run_unit<permute::UnitOf<8>::Type>(name, ctx, from, to, p);
    default: return permute::run_unit<permute::UnitOf<16>::Type>(name, ctx, from, to, p);
  }
}

}  // namespace phalanx
