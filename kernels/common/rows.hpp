// SPDX-License-Identifier: Apache-2.0
/// Rows of a matrix as kernels hold them: in the registers of some lanes of a warp, or of a block.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "common/block_reduce.hpp"
#include "common/pack.hpp"

namespace phalanx {

/// Rows of equal length, one after the other.
struct RowsShape {
  std::int64_t count, size;
};

// Threads of a block whose lanes hold rows, of one that holds a row, and of one that goes along a row that nobody can hold.
inline constexpr int kRowThreads = 256;
inline constexpr int kRowBlockThreads = 512;
inline constexpr int kLongRowThreads = 1024;
/// Blocks of kRowThreads or kRowBlockThreads on a multiprocessor at least: leaves 128 or 64 registers to a thread.
inline constexpr int kRowBlocksPerSm = 2;

// What a thread holds of a row at most: a lane of a short row and of any, and a thread of a block.
inline constexpr int kValuesOfFew = 8;
inline constexpr int kValuesOfLane = 32;
inline constexpr int kValuesOfThread = 16;
template <int kPack>
inline constexpr int kPacksOfFew = kValuesOfFew / kPack;
template <int kPack>
inline constexpr int kPacksOfLane = kValuesOfLane / kPack;
template <int kPack>
inline constexpr int kPacksOfThread = kValuesOfThread / kPack;

/// Rows that a team of lanes works on at once, by what its lanes hold of each: so that loads are under way.
template <int kPacks, int kPack>
inline constexpr int kRowsAtOnce = kPacks == 1 ? 4 : (kPacks* kPack <= kValuesOfFew ? 2 : 1);

/// Who holds a row: lanes that have one pack of it each, up to kValuesOfFew or up to kValuesOfLane values; a block; nobody,
///     so that
/// a block goes along it part by part.
enum class RowHolder : std::uint8_t { kOnePack, kFew, kLanes, kBlock, kNobody };

/// How rows are shared out, for accesses of `pack` elements.
struct RowPlan {
  RowHolder holder;
  int lanes;            ///< that share a row, where lanes hold it
  std::int64_t blocks;  ///< of a grid in which each works once

  template <int kPack>
  static RowPlan of(RowsShape rows) {
    const std::int64_t packs = rows.size / kPack;
    const int lanes = packs >= 32 ? 32
                                  : static_cast<int>(std::bit_ceil(
                                        static_cast<unsigned>(std::max<std::int64_t>(packs, 1))));
    const auto shared_by_lanes = [&](RowHolder holder, int rows_at_once) {
      const std::int64_t of_block = kRowThreads / lanes * rows_at_once;
      return RowPlan{holder, lanes, (rows.count + of_block - 1) / of_block};
    };
    if (packs <= 32) return shared_by_lanes(RowHolder::kOnePack, kRowsAtOnce<1, kPack>);
    if (rows.size <= 32 * kValuesOfFew)
      return shared_by_lanes(RowHolder::kFew, kRowsAtOnce<kPacksOfFew<kPack>, kPack>);
    if (rows.size <= 32 * kValuesOfLane)
      return shared_by_lanes(RowHolder::kLanes, kRowsAtOnce<kPacksOfLane<kPack>, kPack>);
    const bool held = rows.size <= kRowBlockThreads * kValuesOfThread;
    return {held ? RowHolder::kBlock : RowHolder::kNobody, lanes, rows.count};
  }
};

/// Calls f.template operator()<kPack>() with the elements that an access to a row of this length may take.
template <class T, class F>
void with_row_pack(std::int64_t size, F&& f) {
  if (size % kPackElements<T> == 0)
    f.template operator()<kPackElements<T>>();
  else
    f.template operator()<1>();
}

/// Neighbouring lanes of a warp that share their rows: kLanes or, where that is 0, as many as the constructor is told; a
/// power of two.
template <int kLanes>
struct LaneTeam {
  int members;

  __device__ explicit LaneTeam(int lanes) : members(kLanes > 0 ? kLanes : lanes) {}
  __device__ int rank() const { return static_cast<int>(threadIdx.x) & (members - 1); }
  __device__ int team() const { return static_cast<int>(threadIdx.x) / members; }
  __device__ int teams() const { return kRowThreads / members; }  ///< in the block
  template <class Join, class T>
  __device__ T join(T v) const {
    return join_lanes<Join>(v, members);
  }
  __device__ bool any(bool v) const {
    const unsigned first = threadIdx.x % 32 & ~(static_cast<unsigned>(members) - 1);
    return (__ballot_sync(~0u, v) >> first & (~0u >> (32 - members))) != 0;
  }
};
/// Where lanes hold several packs of a row, the row is that of a warp.
template <int kPacks>
using RowTeam = LaneTeam<kPacks == 1 ? 0 : 32>;

/// All threads of a block. `Shared` is the widest type that they join.
template <int kThreads, class Shared>
struct BlockTeam {
  static constexpr int members = kThreads;
  Shared* shared;  ///< [kThreads / 32]

  __device__ static int rank() { return static_cast<int>(threadIdx.x); }
  template <class Join, class T>
  __device__ T join(T v) const {
    static_assert(sizeof(T) <= sizeof(Shared) && alignof(T) <= alignof(Shared));
    return join_block<Join, kThreads / 32>(v, reinterpret_cast<T*>(shared));
  }
  __device__ bool any(bool v) const { return __syncthreads_or(v) != 0; }
};

/// Which packs of a row a team holds: member r the packs r, r + members, ... Calls f(i, pack) for those of this thread, i <
/// kPacks being a constant where the loop is unrolled.
template <int kPacks, class Team, class F>
__device__ __forceinline__ void for_each_pack(const Team& team, int packs, F f) {
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    if (i * team.members >= packs) break;  // the same for all
    const int pack = team.rank() + i * team.members;
    if (pack < packs) f(i, pack);
  }
}

/// The packs of this thread; what lies behind the end of the row becomes `otherwise`.
template <int kPacks, int kPack, class Team, class T>
__device__ __forceinline__ void load_row(const Team& team, int packs, const T* row, float otherwise,
                                         float (&v)[kPacks][kPack]) {
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
#pragma unroll
    for (int k = 0; k < kPack; ++k) v[i][k] = otherwise;
  }
  for_each_pack<kPacks>(team, packs, [&](int i, int pack) { load(row + pack * kPack, v[i]); });
}

/// Folds what this thread holds of a row: f(sum so far, value).
template <int kPacks, int kPack, class Team, class F>
__device__ __forceinline__ float fold_row(const Team& team, int packs, float start,
                                          const float (&v)[kPacks][kPack], F f) {
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    if (i * team.members >= packs) break;
#pragma unroll
    for (int k = 0; k < kPack; ++k) start = f(start, v[i][k]);
  }
  return start;
}

/// Calls f(packs of the row from there on, offset of the first) for each part of a row that a block has under way at once.
template <int kPacks, int kPack, class F>
__device__ __forceinline__ void for_each_part(std::int64_t size, F f) {
  constexpr std::int64_t kPart = static_cast<std::int64_t>(kLongRowThreads) * kPacks * kPack;
  for (std::int64_t begin = 0; begin < size; begin += kPart)
    f(static_cast<int>((size - begin < kPart ? size - begin : kPart) / kPack), begin);
}

/// The largest value of a sequence and the sum of e^(value - largest), from one pass. Each value -inf leaves both as they are.
struct MaxSum {
  float largest, sum;

  __device__ static MaxSum of_none() { return {-std::numeric_limits<float>::infinity(), 0.0f}; }
  /// What is subtracted from exponents: anything, where all values are -inf.
  __device__ static float shift(float largest) {
    return largest == -std::numeric_limits<float>::infinity() ? 0.0f : largest;
  }
  template <int kPacks, int kPack>
  __device__ void add(const float (&v)[kPacks][kPack]) {
    float next = largest;
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) next = fmaxf(next, v[i][k]);
    }
    const float from = shift(next);
    sum *= expf(largest - from);
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) sum += expf(v[i][k] - from);
    }
    largest = next;
  }
  /// The same bits whichever comes first: no fused multiply-add.
  __device__ static MaxSum join(MaxSum a, MaxSum b) {
    const float next = fmaxf(a.largest, b.largest), from = shift(next);
    return {next, __fadd_rn(__fmul_rn(a.sum, expf(a.largest - from)),
                            __fmul_rn(b.sum, expf(b.largest - from)))};
  }
};
__device__ __forceinline__ MaxSum from_lane(MaxSum v, int lane_xor) {
  return {from_lane(v.largest, lane_xor), from_lane(v.sum, lane_xor)};
}

}  // namespace phalanx
