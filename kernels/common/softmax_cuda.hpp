// SPDX-License-Identifier: Apache-2.0
/// softmax and its logarithm (kLog) on a GPU: rows in the registers of lanes or of a block where they fit, read twice where
/// not, and columns where the axis is not the last. Every thread writes only what it alone has read before: y may be x, dx
/// may be dy.
#pragma once

#include "common/axis_view.hpp"
#include "common/launch.hpp"
#include "common/rows.hpp"
#include "op/op.hpp"

namespace phalanx {

template <bool kLog>
__device__ __forceinline__ float softmax_value(float x, MaxSum row, float one_over_sum,
                                               float log_sum) {
  const float centred = x - row.largest;
  return kLog ? centred - log_sum : expf(centred) * one_over_sum;
}
template <bool kLog>
__device__ __forceinline__ float softmax_term(float y, float dy) {
  return kLog ? dy : y * dy;
}
template <bool kLog>
__device__ __forceinline__ float softmax_slope(float y, float dy, float sum) {
  return kLog ? dy - expf(y) * sum : y * (dy - sum);
}

// --- rows in registers

/// y for one row of which the team holds x in v.
template <bool kLog, int kPacks, int kPack, class Team, class T>
__device__ __forceinline__ void softmax_of_held(const Team& team, int packs,
                                                float (&v)[kPacks][kPack], T* y) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const float largest = team.template join<Largest>(
      fold_row(team, packs, kNone, v, [](float a, float x) { return fmaxf(a, x); }));
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    if (i * team.members >= packs) break;
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      v[i][k] -= largest;
      if (!kLog) v[i][k] = expf(v[i][k]);
    }
  }
  const float sum = team.template join<Sum>(
      fold_row(team, packs, 0.0f, v, [](float a, float x) { return a + (kLog ? expf(x) : x); }));
  if (y == nullptr) return;
  const float shift = kLog ? logf(sum) : 0.0f, factor = kLog ? 1.0f : 1.0f / sum;
  for_each_pack<kPacks>(team, packs, [&](int i, int pack) {
#pragma unroll
    for (int k = 0; k < kPack; ++k) v[i][k] = kLog ? v[i][k] - shift : v[i][k] * factor;
    store(v[i], y + pack * kPack);
  });
}

/// dx for one row of which the team holds y and dy.
template <bool kLog, int kPacks, int kPack, class Team, class T>
__device__ __forceinline__ void softmax_gradient_of_held(const Team& team, int packs,
                                                         const float (&y)[kPacks][kPack],
                                                         float (&dy)[kPacks][kPack], T* dx) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    if (i * team.members >= packs) break;
#pragma unroll
    for (int k = 0; k < kPack; ++k) sum += softmax_term<kLog>(y[i][k], dy[i][k]);
  }
  sum = team.template join<Sum>(sum);
  if (dx == nullptr) return;
  for_each_pack<kPacks>(team, packs, [&](int i, int pack) {
#pragma unroll
    for (int k = 0; k < kPack; ++k) dy[i][k] = softmax_slope<kLog>(y[i][k], dy[i][k], sum);
    store(dy[i], dx + pack * kPack);
  });
}

/// Who       each team of `lanes` lanes takes kRowsAtOnce rows, as far apart as the block has teams; a lane every lanes-th
///           pack of them
/// Memory    the rows in registers, kPacks packs of a row in a lane; each byte is read and written once
/// Barriers  none; all lanes of a warp shuffle, those without a row too
/// Bound     by bytes
/// Sizes     rows of up to 32 * kPacks packs
template <bool kLog, int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    softmax_forward_lanes_kernel(const T* x, T* y, RowsShape rows, int lanes) {
  constexpr int kRows = kRowsAtOnce<kPacks, kPack>;
  const RowTeam<kPacks> team(lanes);
  const int packs = static_cast<int>(rows.size) / kPack;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * team.teams() * kRows + team.team();
  float v[kRows][kPacks][kPack];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t row = first + r * team.teams();
    load_row(team, row < rows.count ? packs : 0, x + row * rows.size,
             -std::numeric_limits<float>::infinity(), v[r]);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t row = first + r * team.teams();
    softmax_of_held<kLog>(team, packs, v[r], row < rows.count ? y + row * rows.size : nullptr);
  }
}

/// Who, Memory, Barriers, Bound, Sizes as for softmax_forward_lanes_kernel; registers hold y and dy.
template <bool kLog, int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    softmax_backward_lanes_kernel(const T* y, const T* dy, T* dx, RowsShape rows, int lanes) {
  constexpr int kRows = kRowsAtOnce<kPacks, kPack>;
  const RowTeam<kPacks> team(lanes);
  const int packs = static_cast<int>(rows.size) / kPack;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * team.teams() * kRows + team.team();
  float v[kRows][kPacks][kPack], g[kRows][kPacks][kPack];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t row = first + r * team.teams();
    const int there = row < rows.count ? packs : 0;
    load_row(team, there, y + row * rows.size, 0.0f, v[r]);
    load_row(team, there, dy + row * rows.size, 0.0f, g[r]);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t row = first + r * team.teams();
    softmax_gradient_of_held<kLog>(team, packs, v[r], g[r],
                                   row < rows.count ? dx + row * rows.size : nullptr);
  }
}

/// Who       a block takes a row, a thread every kRowBlockThreads-th pack of it
/// Memory    the row in registers; one value per warp in shared memory; each byte is read and written once
/// Barriers  those of join_block
/// Bound     by bytes
/// Sizes     rows of up to kRowBlockThreads * kPacks packs
template <bool kLog, int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kRowBlockThreads, kRowBlocksPerSm)
    softmax_forward_block_kernel(const T* x, T* y, RowsShape rows) {
  __shared__ float shared[kRowBlockThreads / 32];
  const BlockTeam<kRowBlockThreads, float> team{shared};
  const int packs = static_cast<int>(rows.size) / kPack;
  const std::int64_t at = blockIdx.x * rows.size;
  float v[kPacks][kPack];
  load_row(team, packs, x + at, -std::numeric_limits<float>::infinity(), v);
  softmax_of_held<kLog>(team, packs, v, y + at);
}

/// Who, Memory, Barriers, Bound, Sizes as for softmax_forward_block_kernel; registers hold y and dy.
template <bool kLog, int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kRowBlockThreads, kRowBlocksPerSm)
    softmax_backward_block_kernel(const T* y, const T* dy, T* dx, RowsShape rows) {
  __shared__ float shared[kRowBlockThreads / 32];
  const BlockTeam<kRowBlockThreads, float> team{shared};
  const int packs = static_cast<int>(rows.size) / kPack;
  const std::int64_t at = blockIdx.x * rows.size;
  float v[kPacks][kPack], g[kPacks][kPack];
  load_row(team, packs, y + at, 0.0f, v);
  load_row(team, packs, dy + at, 0.0f, g);
  softmax_gradient_of_held<kLog>(team, packs, v, g, dx + at);
}

// --- rows that nobody can hold

/// Who       a block takes a row, part by part, a thread every kLongRowThreads-th pack of a part
/// Memory    a part in registers; one value per warp in shared memory; x is read twice, the second time from L2 as long as it
///           holds the rows of all blocks, and each byte is written once
/// Barriers  those of join_block, between the passes
/// Bound     by bytes
/// Sizes     any
template <bool kLog, int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kLongRowThreads)
    softmax_forward_parts_kernel(const T* x, T* y, RowsShape rows) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  __shared__ MaxSum shared[kLongRowThreads / 32];
  const BlockTeam<kLongRowThreads, MaxSum> team{shared};
  x += blockIdx.x * rows.size;
  y += blockIdx.x * rows.size;
  MaxSum row = MaxSum::of_none();
  float v[kPacks][kPack];
  for_each_part<kPacks, kPack>(rows.size, [&](int packs, std::int64_t begin) {
    load_row(team, packs, x + begin, kNone, v);
    row.add(v);
  });
  row = team.template join<MaxSum>(row);
  const float factor = 1.0f / row.sum, shift = kLog ? logf(row.sum) : 0.0f;
  for_each_part<kPacks, kPack>(rows.size, [&](int packs, std::int64_t begin) {
    load_row(team, packs, x + begin, kNone, v);
    for_each_pack<kPacks>(team, packs, [&](int i, int pack) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) v[i][k] = softmax_value<kLog>(v[i][k], row, factor, shift);
      store(v[i], y + begin + pack * kPack);
    });
  });
}

/// Who, Memory, Barriers, Bound, Sizes as for softmax_forward_parts_kernel; y and dy are read twice.
template <bool kLog, int kPacks, int kPack, class T>
__global__ void __launch_bounds__(kLongRowThreads)
    softmax_backward_parts_kernel(const T* y, const T* dy, T* dx, RowsShape rows) {
  __shared__ float shared[kLongRowThreads / 32];
  const BlockTeam<kLongRowThreads, float> team{shared};
  y += blockIdx.x * rows.size;
  dy += blockIdx.x * rows.size;
  dx += blockIdx.x * rows.size;
  float sum = 0.0f, v[kPacks][kPack], g[kPacks][kPack];
  const auto load_part = [&](int packs, std::int64_t begin) {
    load_row(team, packs, y + begin, 0.0f, v);
    load_row(team, packs, dy + begin, 0.0f, g);
  };
  for_each_part<kPacks, kPack>(rows.size, [&](int packs, std::int64_t begin) {
    load_part(packs, begin);
    float part = 0.0f;
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) part += softmax_term<kLog>(v[i][k], g[i][k]);
    }
    sum += part;
  });
  sum = team.template join<Sum>(sum);
  for_each_part<kPacks, kPack>(rows.size, [&](int packs, std::int64_t begin) {
    load_part(packs, begin);
    for_each_pack<kPacks>(team, packs, [&](int i, int pack) {
#pragma unroll
      for (int k = 0; k < kPack; ++k) g[i][k] = softmax_slope<kLog>(v[i][k], g[i][k], sum);
      store(g[i], dx + begin + pack * kPack);
    });
  });
}

// --- columns

inline constexpr int kColumnThreads = 32;  ///< neighbouring columns of a block
inline constexpr int kColumnTeam = 8;      ///< threads of a column
inline constexpr int kColumnsAtOnce = 4;   ///< loads that a thread has under way

/// The column of a thread, if there is one for it.
struct Column {
  std::int64_t at, size, stride;
  bool exists;

  __device__ explicit Column(const AxisView& view) : size(view.size), stride(view.inner) {
    const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x;
    exists = c < view.outer * view.inner;
    at = c / view.inner * view.size * view.inner + c % view.inner;
  }
  /// Calls f(place in the column of the first of kColumnsAtOnce elements, kColumnTeam apart).
  template <class F>
  __device__ void for_each_part(F f) const {
    if (!exists) return;
    for (std::int64_t k = threadIdx.y; k < size; k += kColumnTeam * kColumnsAtOnce) f(k);
  }
  template <class T>
  __device__ void load_part(const T* x, std::int64_t k, float otherwise,
                            float (&v)[kColumnsAtOnce][1]) const {
#pragma unroll
    for (int i = 0; i < kColumnsAtOnce; ++i, k += kColumnTeam)
      v[i][0] = k < size ? to_f32(x[at + k * stride]) : otherwise;
  }
  template <class T>
  __device__ void store_part(const float (&v)[kColumnsAtOnce][1], std::int64_t k, T* y) const {
#pragma unroll
    for (int i = 0; i < kColumnsAtOnce; ++i, k += kColumnTeam)
      if (k < size) y[at + k * stride] = from_f32<T>(v[i][0]);
  }
};

/// What the threads of a column hold, joined. `shared` is used once.
template <class Join, class V>
__device__ V join_column(V v, V (&shared)[kColumnTeam][kColumnThreads]) {
  shared[threadIdx.y][threadIdx.x] = v;
  __syncthreads();
  v = shared[0][threadIdx.x];
  for (int y = 1; y < kColumnTeam; ++y) v = Join::join(v, shared[y][threadIdx.x]);
  return v;
}

/// Who       a block takes kColumnThreads neighbouring columns, and kColumnTeam threads share one: each every kColumnTeam-th
///           element
/// Memory    registers; one value per thread in shared memory; x is read twice, the second time from a cache if the columns of
///           all blocks fit
/// Barriers  one, before the values of a column's threads are joined
/// Bound     by bytes; accesses of a warp are coalesced as far as `inner` goes
/// Sizes     any
template <bool kLog, class T>
__global__ void __launch_bounds__(kColumnThreads* kColumnTeam)
    softmax_forward_columns_kernel(const T* x, T* y, AxisView view) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  __shared__ MaxSum shared[kColumnTeam][kColumnThreads];
  const Column column(view);
  MaxSum all = MaxSum::of_none();
  float v[kColumnsAtOnce][1];
  column.for_each_part([&](std::int64_t k) {
    column.load_part(x, k, kNone, v);
    all.add(v);
  });
  all = join_column<MaxSum>(all, shared);
  const float factor = 1.0f / all.sum, shift = kLog ? logf(all.sum) : 0.0f;
  column.for_each_part([&](std::int64_t k) {
    column.load_part(x, k, kNone, v);
#pragma unroll
    for (int i = 0; i < kColumnsAtOnce; ++i)
      v[i][0] = softmax_value<kLog>(v[i][0], all, factor, shift);
    column.store_part(v, k, y);
  });
}

/// Who, Memory, Barriers, Bound, Sizes as for softmax_forward_columns_kernel; y and dy are read twice.
template <bool kLog, class T>
__global__ void __launch_bounds__(kColumnThreads* kColumnTeam)
    softmax_backward_columns_kernel(const T* y, const T* dy, T* dx, AxisView view) {
  __shared__ float shared[kColumnTeam][kColumnThreads];
  const Column column(view);
  float sum = 0.0f, v[kColumnsAtOnce][1], g[kColumnsAtOnce][1];
  column.for_each_part([&](std::int64_t k) {
    column.load_part(y, k, 0.0f, v);
    column.load_part(dy, k, 0.0f, g);
    float part = 0.0f;
#pragma unroll
    for (int i = 0; i < kColumnsAtOnce; ++i) part += softmax_term<kLog>(v[i][0], g[i][0]);
    sum += part;
  });
  sum = join_column<Sum>(sum, shared);
  column.for_each_part([&](std::int64_t k) {
    column.load_part(y, k, 0.0f, v);
    column.load_part(dy, k, 0.0f, g);
#pragma unroll
    for (int i = 0; i < kColumnsAtOnce; ++i) g[i][0] = softmax_slope<kLog>(v[i][0], g[i][0], sum);
    column.store_part(g, k, dx);
  });
}

inline unsigned column_blocks(const AxisView& view) {
  return blocks_for(view.outer * view.inner, kColumnThreads);
}
inline constexpr dim3 kColumnBlock(kColumnThreads, kColumnTeam);

// --- which kernel

/// The kernels for rows by their holders.
template <class Lanes, class Block>
struct RowKernels {
  Lanes one_pack, few, lanes;
  Block block, parts;
};

template <int kPack, class Lanes, class Block, class... Operands>
void launch_rows(const char* name, OpContext& ctx, RowsShape rows,
                 const RowKernels<Lanes, Block>& kernels, Operands... operands) {
  const RowPlan plan = RowPlan::of<kPack>(rows);
  const auto blocks = static_cast<unsigned>(plan.blocks);
  const auto launch_lanes = [&](Lanes kernel) {
    launch(name, kernel, blocks, kRowThreads, 0, ctx.stream, operands..., rows, plan.lanes);
  };
  switch (plan.holder) {
    case RowHolder::kOnePack: return launch_lanes(kernels.one_pack);
    case RowHolder::kFew: return launch_lanes(kernels.few);
    case RowHolder::kLanes: return launch_lanes(kernels.lanes);
    case RowHolder::kBlock:
      return launch(name, kernels.block, blocks, kRowBlockThreads, 0, ctx.stream, operands...,
                    rows);
    case RowHolder::kNobody:
      return launch(name, kernels.parts, blocks, kLongRowThreads, 0, ctx.stream, operands..., rows);
  }
}

template <bool kLog>
void softmax_forward_on_device(const char* name, OpContext& ctx, ConstTensorView x, TensorView y) {
  if (x.numel() == 0) return;
  const AxisView view(x.shape(), ctx.attributes.get_int("axis", -1));
  with_cuda_type(x.type.dtype, [&]<class T>() {
    if (view.inner > 1)
      return launch(name, softmax_forward_columns_kernel<kLog, T>, column_blocks(view),
                    kColumnBlock, 0, ctx.stream, x.as<T>(), y.as<T>(), view);
    with_row_pack<T>(view.size, [&]<int kPack>() {
      const RowKernels kernels{softmax_forward_lanes_kernel<kLog, 1, kPack, T>,
                               softmax_forward_lanes_kernel<kLog, kPacksOfFew<kPack>, kPack, T>,
                               softmax_forward_lanes_kernel<kLog, kPacksOfLane<kPack>, kPack, T>,
                               softmax_forward_block_kernel<kLog, kPacksOfThread<kPack>, kPack, T>,
                               softmax_forward_parts_kernel<kLog, kPacksOfThread<kPack>, kPack, T>};
      launch_rows<kPack>(name, ctx, {view.outer, view.size}, kernels, x.as<T>(), y.as<T>());
    });
  });
}

template <bool kLog>
void softmax_backward_on_device(const char* name, OpContext& ctx, ConstTensorView y,
                                ConstTensorView dy, TensorView dx) {
  if (y.numel() == 0) return;
  const AxisView view(y.shape(), ctx.attributes.get_int("axis", -1));
  with_cuda_type(y.type.dtype, [&]<class T>() {
    if (view.inner > 1)
      return launch(name, softmax_backward_columns_kernel<kLog, T>, column_blocks(view),
                    kColumnBlock, 0, ctx.stream, y.as<T>(), dy.as<T>(), dx.as<T>(), view);
    with_row_pack<T>(view.size, [&]<int kPack>() {
      const RowKernels kernels{
          softmax_backward_lanes_kernel<kLog, 1, kPack, T>,
          softmax_backward_lanes_kernel<kLog, kPacksOfFew<kPack>, kPack, T>,
          softmax_backward_lanes_kernel<kLog, kPacksOfLane<kPack>, kPack, T>,
          softmax_backward_block_kernel<kLog, kPacksOfThread<kPack>, kPack, T>,
          softmax_backward_parts_kernel<kLog, kPacksOfThread<kPack>, kPack, T>};
      launch_rows<kPack>(name, ctx, {view.outer, view.size}, kernels, y.as<T>(), dy.as<T>(),
                         dx.as<T>());
    });
  });
}

}  // namespace phalanx
