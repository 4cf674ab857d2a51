// SPDX-License-Identifier: Apache-2.0
/// Cross-entropy of the softmax of rows [N, C], on a GPU: the loss alone, or (kStep) the loss, how many rows are right, and
/// dx in the same pass. Rows lie in the registers of lanes or of a block where they fit. One that does not fit is read once
/// for the loss, by an online softmax, and once more for dx.
#pragma once

#include "common/cross_entropy_scale.hpp"
#include "common/launch.hpp"
#include "common/partial_sums.hpp"
#include "common/rows.hpp"

namespace phalanx {

/// The sums of a pass: the loss and, in a step, the rows whose largest value is the label's.
template <bool kStep>
inline constexpr int kCrossEntropySums = kStep ? 2 : 1;

template <bool kStep>
struct CrossEntropy {
  const float* x;
  const std::int64_t* label;
  RowsShape rows;
  float* log_sum;      ///< [N], unless it is a step
  const float* dloss;  ///< a scalar, in a step
  float* dx;           ///< in a step; may be x
  float scale;         ///< of dloss
  double* partials;
  SumOutputs<kCrossEntropySums<kStep>> outputs;
};

/// The label of a row, and x there.
struct RowLabel {
  int column = 0;
  float x = 0.0f;

  /// Reads nothing where the row does not exist.
  template <bool kStep>
  __device__ RowLabel(const CrossEntropy<kStep>& p, std::int64_t row) {
    if (row >= p.rows.count) return;
    column = static_cast<int>(p.label[row]);
    x = p.x[row * p.rows.size + column];
  }
  /// Whether, because of value v in column c, std::max_element would not choose the label. It chooses the first of equal
  /// values, and a NaN only in column 0.
  __device__ bool loses_to(float v, int c) const {
    return c < column ? v >= x || x != x || (c == 0 && v != v) : v > x;
  }
};

/// What one thread has summed.
template <bool kStep>
struct CrossEntropySums {
  double sums[kCrossEntropySums<kStep>] = {};

  __device__ void add(float log_sum, const RowLabel& label, bool is_right) {
    sums[0] += static_cast<double>(log_sum) - static_cast<double>(label.x);
    if constexpr (kStep) sums[1] += is_right ? 1.0 : 0.0;
  }
};

/// Whether the packs of a row that this thread holds in v keep the label from being chosen.
template <int kPacks, int kPack, class Team>
__device__ __forceinline__ bool holds_larger(const Team& team, int packs, int first,
                                             const float (&v)[kPacks][kPack],
                                             const RowLabel& label) {
  bool any = false;
  for_each_pack<kPacks>(team, packs, [&](int i, int pack) {
#pragma unroll
    for (int k = 0; k < kPack; ++k) any |= label.loses_to(v[i][k], first + pack * kPack + k);
  });
  return any;
}

/// dx = dloss * (p - onehot) for the packs that this thread holds; v holds p, or what has to be multiplied by `factor` for it.
template <int kPacks, int kPack, class Team>
__device__ __forceinline__ void store_gradient(const Team& team, int packs, int first,
                                               float (&v)[kPacks][kPack], int label, float factor,
                                               float dloss, float* dx) {
  for_each_pack<kPacks>(team, packs, [&](int i, int pack) {
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      v[i][k] *= factor;
      if (first + pack * kPack + k == label) v[i][k] -= dloss;
    }
    store(v[i], dx + first + pack * kPack);
  });
}

/// One row of which the team holds x in v.
template <bool kStep, int kPacks, int kPack, class Team>
__device__ __forceinline__ void cross_entropy_of_held(
    const Team& team, const CrossEntropy<kStep>& p, std::int64_t row, int packs,
    const RowLabel& label, float (&v)[kPacks][kPack], CrossEntropySums<kStep>& sums) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  bool is_right = true;
  if constexpr (kStep) is_right = !team.any(holds_larger(team, packs, 0, v, label));
  const float largest = team.template join<Largest>(
      fold_row(team, packs, kNone, v, [](float a, float x) { return fmaxf(a, x); }));
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    if (i * team.members >= packs) break;
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      v[i][k] = expf(v[i][k] - largest);
      sum += v[i][k];
    }
  }
  sum = team.template join<Sum>(sum);
  if (row >= p.rows.count) return;
  const float log_sum = largest + logf(sum);
  if (team.rank() == 0) {
    sums.add(log_sum, label, is_right);
    if constexpr (!kStep) p.log_sum[row] = log_sum;
  }
  if constexpr (kStep) {
    const float dloss = *p.dloss * p.scale;
    store_gradient(team, packs, 0, v, label.column, dloss / sum, dloss, p.dx + row * p.rows.size);
  }
}

/// Who       each team of `lanes` lanes takes kRowsAtOnce rows at a time, as far apart as the block has teams, then others a
///           grid further on; a lane holds every lanes-th pack of them
/// Memory    the rows in registers; one double per warp in shared memory; each byte is read and written once
/// Barriers  one of the warp between reading a row and writing dx, which may lie there; those of finish_sums. All lanes
///           shuffle, those without a row too
/// Bound     by bytes
/// Sizes     rows of up to 32 * kPacks packs
template <bool kStep, int kPacks, int kPack>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerSm)
    cross_entropy_lanes_kernel(CrossEntropy<kStep> p, int lanes) {
  __shared__ double shared[kRowThreads / 32];
  constexpr int kRows = kRowsAtOnce<kPacks, kPack>;
  const RowTeam<kPacks> team(lanes);
  const int packs = static_cast<int>(p.rows.size) / kPack;
  const std::int64_t of_block = team.teams() * kRows;
  CrossEntropySums<kStep> sums;
  for (std::int64_t first = blockIdx.x * of_block; first < p.rows.count;
       first += gridDim.x * of_block) {
    float v[kRows][kPacks][kPack];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t row = first + r * team.teams() + team.team();
      load_row(team, row < p.rows.count ? packs : 0, p.x + row * p.rows.size,
               -std::numeric_limits<float>::infinity(), v[r]);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t row = first + r * team.teams() + team.team();
      const RowLabel label(p, row);
      if (kStep) __syncwarp();
      cross_entropy_of_held(team, p, row, packs, label, v[r], sums);
    }
  }
  finish_sums<kRowThreads>(sums.sums, shared, p.partials, p.outputs);
}

/// Who       a block takes a row, then others a grid further on; a thread every kRowBlockThreads-th pack of it
/// Memory    the row in registers; one double per warp in shared memory; each byte is read and written once
/// Barriers  those of join_block: a row is read before the first, and dx, which may lie there, written behind the last
/// Bound     by bytes
/// Sizes     rows of up to kRowBlockThreads * kPacks packs
template <int kPacks, int kPack>
__global__ void __launch_bounds__(kRowBlockThreads, kRowBlocksPerSm)
    cross_entropy_block_kernel(CrossEntropy<true> p) {
  __shared__ double shared[kRowBlockThreads / 32];
  __shared__ float of_rows[kRowBlockThreads / 32];
  const BlockTeam<kRowBlockThreads, float> team{of_rows};
  const int packs = static_cast<int>(p.rows.size) / kPack;
  CrossEntropySums<true> sums;
  for (std::int64_t row = blockIdx.x; row < p.rows.count; row += gridDim.x) {
    float v[kPacks][kPack];
    load_row(team, packs, p.x + row * p.rows.size, -std::numeric_limits<float>::infinity(), v);
    cross_entropy_of_held(team, p, row, packs, RowLabel(p, row), v, sums);
  }
  finish_sums<kRowBlockThreads>(sums.sums, shared, p.partials, p.outputs);
}

/// Who       a block takes a row, part by part, then others a grid further on; a thread every kLongRowThreads-th pack of a part
/// Memory    a part in registers; one value per warp in shared memory; a step reads x twice, the second time from L2 as long
///           as it holds the rows of all blocks
/// Barriers  those of join_block: dx, which may lie in x, is written behind them, each element by the thread that read it
/// Bound     by bytes
/// Sizes     any
template <bool kStep, int kPacks, int kPack>
__global__ void __launch_bounds__(kLongRowThreads)
    cross_entropy_parts_kernel(CrossEntropy<kStep> p) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  __shared__ double shared[kLongRowThreads / 32];
  __shared__ MaxSum of_rows[kLongRowThreads / 32];
  const BlockTeam<kLongRowThreads, MaxSum> team{of_rows};
  CrossEntropySums<kStep> sums;
  for (std::int64_t row = blockIdx.x; row < p.rows.count; row += gridDim.x) {
    const float* x = p.x + row * p.rows.size;
    const RowLabel label(p, row);
    MaxSum all = MaxSum::of_none();
    bool loses = false;
    float v[kPacks][kPack];
    for_each_part<kPacks, kPack>(p.rows.size, [&](int packs, std::int64_t begin) {
      load_row(team, packs, x + begin, kNone, v);
      all.add(v);
      if constexpr (kStep) loses |= holds_larger(team, packs, static_cast<int>(begin), v, label);
    });
    all = team.template join<MaxSum>(all);
    const bool is_right = !kStep || !team.any(loses);
    const float log_sum = all.largest + logf(all.sum);
    if (team.rank() == 0) {
      sums.add(log_sum, label, is_right);
      if constexpr (!kStep) p.log_sum[row] = log_sum;
    }
    if constexpr (kStep) {
      const float dloss = *p.dloss * p.scale;
      for_each_part<kPacks, kPack>(p.rows.size, [&](int packs, std::int64_t begin) {
        load_row(team, packs, x + begin, kNone, v);
#pragma unroll
        for (int i = 0; i < kPacks; ++i) {
#pragma unroll
          for (int k = 0; k < kPack; ++k) v[i][k] = expf(v[i][k] - log_sum);
        }
        store_gradient(team, packs, static_cast<int>(begin), v, label.column, dloss, dloss,
                       p.dx + row * p.rows.size);
      });
    }
  }
  finish_sums<kLongRowThreads>(sums.sums, shared, p.partials, p.outputs);
}

// --- which kernel

/// Throws    Unsupported above 2^31 - 1 classes.
inline RowsShape cross_entropy_rows(const Shape& x) {
  require<Unsupported>(x[1] <= std::numeric_limits<int>::max(),
                       "cross-entropy of 2^31 classes or more on a GPU");
  return {x[0], x[1]};
}

/// Blocks of a pass; each goes on a grid further where there are more rows.
template <int kPack>
unsigned cross_entropy_blocks(RowsShape rows) {
  return static_cast<unsigned>(
      std::min<std::int64_t>(kMostSumBlocks, RowPlan::of<kPack>(rows).blocks));
}

template <bool kStep>
std::unique_ptr<OpState> cross_entropy_prepare_on_device(const PrepareArguments& given) {
  const RowsShape rows = cross_entropy_rows(given.in[0].shape);
  std::unique_ptr<OpState> state;
  with_row_pack<float>(rows.size, [&]<int kPack>() {
    state = partial_sums_state(cross_entropy_blocks<kPack>(rows), kCrossEntropySums<kStep>);
  });
  return state;
}

template <bool kStep>
void cross_entropy_on_device(const char* name, OpContext& ctx, CrossEntropy<kStep> p) {
  p.partials = reinterpret_cast<double*>(ctx.workspace.data());
  with_row_pack<float>(p.rows.size, [&]<int kPack>() {
    const RowPlan plan = RowPlan::of<kPack>(p.rows);
    const unsigned blocks = cross_entropy_blocks<kPack>(p.rows);
    const auto launch_lanes = [&](auto kernel) {
      launch(name, kernel, blocks, kRowThreads, 0, ctx.stream, p, plan.lanes);
    };
    if (plan.holder == RowHolder::kOnePack)
      launch_lanes(cross_entropy_lanes_kernel<kStep, 1, kPack>);
    else if (plan.holder == RowHolder::kFew)
      launch_lanes(cross_entropy_lanes_kernel<kStep, kPacksOfFew<kPack>, kPack>);
    else if (plan.holder == RowHolder::kLanes)
      launch_lanes(cross_entropy_lanes_kernel<kStep, kPacksOfLane<kPack>, kPack>);
    else if (!kStep || plan.holder == RowHolder::kNobody)
      launch(name, cross_entropy_parts_kernel<kStep, kPacksOfThread<kPack>, kPack>, blocks,
             kLongRowThreads, 0, ctx.stream, p);
    else if constexpr (kStep)
      launch(name, cross_entropy_block_kernel<kPacksOfThread<kPack>, kPack>, blocks,
             kRowBlockThreads, 0, ctx.stream, p);
    add_partial_sums(name, ctx, blocks, p.outputs);
  });
}

}  // namespace phalanx
