// SPDX-License-Identifier: Apache-2.0
/// CUDA kernels for the gradient of an operand that broadcasting stretched: sums over the axes along which it was.
///
/// Sums have a fixed order: threads add what is as many places apart as there are threads, a tree adds threads, and where
/// blocks share a sum, a second kernel adds what they found. How many share depends on sizes only.
#pragma once

#include <algorithm>

#include "common/binary_places.hpp"
#include "common/launch.hpp"
#include "op/op.hpp"

namespace phalanx::binary {

struct SumPlan {
  Places kept;      // axes of the gradient, without the innermost one of y if that is kept too
  Places all_kept;  // with it
  Places summed;    // the other axes, of which the innermost one of y counts in packs
  Offsets inner;    // distances along the innermost axis of y
  bool in_columns;  // whether that is kept: a pack holds terms of several sums then, else of one
  std::int64_t columns;    // packs along it, or 1
  int log_lanes;           // threads side by side that take columns next to each other
  int log_terms;           // threads that share a sum; those that are left take other kept places
  unsigned splits;         // blocks that share a sum
  Divisor blocks;          // of all sums, that is of one split
  Divisor column_blocks;   // that have columns of the same places
  std::int64_t per_split;  // places that a split adds

  std::int64_t sums() const noexcept { return all_kept.number; }
  std::size_t workspace_bytes() const noexcept {
    return splits == 1 ? 0 : splits * static_cast<std::size_t>(sums()) * sizeof(float);
  }
};

/// Where sums go.
struct SumTarget {
  Out<Any> t;
  bool adds;
  float* partial;  // [split, sum]; null where each sum is a block's own
  std::int64_t sums;

  __device__ void write(std::int64_t at, float sum) const {
    float value[1] = {sum};
    t.write(at, value, adds);
  }
};

/// Packs that a thread has under way at once.
template <int kPack>
inline constexpr int kSumUnroll = kPack == 1 ? 4 : 2;
/// Leaves 128 registers a thread. Without a number ptxas spills some, to fit one more block.
inline constexpr int kLeastSumBlocks = 2;

/// Who       threads side by side take neighbouring columns, those behind them what is added, every so-manieth place each, and
///           those behind these the next kept places; F gives a term
/// Memory    sums in registers, then a pack a thread in shared memory; dy is read once, an operand as often as it was stretched
/// Barriers  after the writes to shared memory, and in every round of the tree: a thread adds what another one wrote before
/// Bound     by bytes
/// Sizes     any; packs as comes_in_packs says
template <class F, class Y, class P, class Q>
__global__ void __launch_bounds__(kThreads, kLeastSumBlocks)
    binary_sum_kernel(In<Y> dy, In<P> p, In<Q> q, const __grid_constant__ SumPlan plan,
                      SumTarget target) {
  constexpr int kPack = kPackOf<Y, P, Q>, kUnroll = kSumUnroll<kPack>;
  __shared__ float sums[kPack][kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const int lanes = 1 << plan.log_lanes, terms = 1 << plan.log_terms;
  const int lane = thread & (lanes - 1), first = thread >> plan.log_lanes & (terms - 1);
  const int log_both = plan.log_lanes + plan.log_terms;
  std::uint64_t split = blockIdx.x;
  std::uint64_t group = plan.blocks.take(split);
  const std::int64_t column =
      (static_cast<std::int64_t>(plan.column_blocks.take(group)) << plan.log_lanes) + lane;
  const std::int64_t number = static_cast<std::int64_t>(group) * (kThreads >> log_both) +
                              (thread >> log_both);  // of the place among those kept
  const bool takes_part = column < plan.columns && number < plan.kept.number;

  float sum[kPack] = {};
  if (takes_part) {
    Offsets base;
    find(plan.kept, number, base);
    base.add(plan.inner, column * kPack);
    const std::int64_t begin = static_cast<std::int64_t>(split) * plan.per_split;
    const std::int64_t end = min(begin + plan.per_split, plan.summed.number);
    for (std::int64_t place = begin + first; place < end; place += kUnroll * terms) {
      float g[kUnroll][kPack], x[kUnroll][kPack], z[kUnroll][kPack];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (place + u * terms >= end) continue;
        Offsets at = base;
        find(plan.summed, place + u * terms, at);
        dy.read(at.y, 1, g[u]);
        p.read(at.p, plan.inner.p, x[u]);
        q.read(at.q, plan.inner.q, z[u]);
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (place + u * terms >= end) continue;
#pragma unroll
        for (int i = 0; i < kPack; ++i) sum[i] += F()(g[u][i], x[u][i], z[u][i]);
      }
    }
  }

  const int sums_of_pack = plan.in_columns ? kPack : 1;
  if (!plan.in_columns) {
#pragma unroll
    for (int i = 1; i < kPack; ++i) sum[0] += sum[i];
  }
  if (terms > 1) {
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (i < sums_of_pack) sums[i][thread] = sum[i];
    __syncthreads();
    for (int half = terms / 2; half > 0; half /= 2) {
      if (first < half) {
#pragma unroll
        for (int i = 0; i < kPack; ++i)
          if (i < sums_of_pack) sums[i][thread] += sums[i][thread + half * lanes];
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (i < sums_of_pack) sum[i] = sums[i][thread];
  }
  if (first > 0 || !takes_part) return;
  const std::int64_t sum_number = (number * plan.columns + column) * sums_of_pack;
  Offsets at;
  if (target.partial == nullptr) find(plan.kept, number, at);
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    if (i >= sums_of_pack) continue;
    if (target.partial != nullptr)
      target.partial[static_cast<std::int64_t>(split) * target.sums + sum_number + i] = sum[i];
    else
      target.write(at.t + (column * kPack + i) * plan.inner.t, sum[i]);
  }
}

inline constexpr int kJoinLanes = 8;  // that read a sector of 32 bytes

/// Who       eight threads side by side take neighbouring sums, 32 behind each other every 32nd of what blocks found for these
/// Memory    one number a thread in shared memory; each byte is read once
/// Barriers  after the writes to shared memory, and in every round of the tree: a thread adds what another one wrote before
/// Bound     by latency: these are few
/// Sizes     any
template <int kLanes>
__global__ void __launch_bounds__(kThreads)
    binary_sum_join_kernel(const __grid_constant__ Places kept, unsigned splits, SumTarget target) {
  __shared__ float sums[kThreads];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kLanes;
  const std::int64_t number = static_cast<std::int64_t>(blockIdx.x) * kLanes + lane;
  float sum = 0;
  if (number < target.sums) {
#pragma unroll 4
    for (unsigned split = threadIdx.x / kLanes; split < splits; split += kThreads / kLanes)
      sum += target.partial[split * target.sums + number];
  }
  sums[thread] = sum;
  __syncthreads();
  for (int half = kThreads / 2; half >= kLanes; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  if (thread >= kLanes || number >= target.sums) return;
  Offsets at;
  find(kept, number, at);
  target.write(at.t, sums[thread]);
}

/// Which blocks and threads add what.
inline SumPlan plan_sum(const BroadcastWalk& walk, int pack, bool p_is_b) {
  constexpr std::int64_t kWantedBlocks = 1024;  // several for each multiprocessor of a large GPU
  constexpr std::int64_t kUnroll = 2;
  constexpr int kLogThreads = 8;
  static_assert(kThreads == 1 << kLogThreads);
  constexpr std::int64_t kLeastPlaces = 8;  // that a thread adds, before a sum is shared
  SumPlan plan{.columns = 1};
  std::int64_t y = 1;
  for (int i = walk.count; i-- > 1;) y *= walk.axes[i].size;
  for (int i = 0; i < walk.count; ++i) {
    const BroadcastWalk::Axis& axis = walk.axes[i];
    const bool is_inner = i + 1 == walk.count;
    const Offsets step{y, p_is_b ? axis.b : axis.a, p_is_b ? 0 : axis.b, axis.t};
    if (!is_inner) y /= walk.axes[i + 1].size;
    if (is_inner) plan.inner = step;
    if (axis.t != 0) {
      plan.all_kept.add(axis.size, step);
      plan.in_columns = is_inner;
      if (is_inner)
        plan.columns = axis.size / pack;
      else
        plan.kept.add(axis.size, step);
    } else if (is_inner) {
      plan.summed.add(axis.size / pack, {step.y * pack, step.p * pack, step.q * pack, 0});
    } else {
      plan.summed.add(axis.size, step);
    }
  }
  // Threads along columns, as far as they reach; of the others as many add as there is work for.
  const auto log_of = [](std::int64_t size, int most) {
    int log = 0;
    while (log < most && (std::int64_t{1} << log) < size) ++log;
    return log;
  };
  plan.log_lanes = log_of(plan.columns, 5);
  plan.log_terms =
      log_of((plan.summed.number + kUnroll - 1) / kUnroll, kLogThreads - plan.log_lanes);
  const auto blocks_of = [](std::int64_t number, int log) {
    return (number + (std::int64_t{1} << log) - 1) >> log;
  };
  const std::int64_t column_blocks = blocks_of(plan.columns, plan.log_lanes);
  plan.column_blocks = Divisor(column_blocks);
  const std::int64_t blocks =
      column_blocks * blocks_of(plan.kept.number, kLogThreads - plan.log_lanes - plan.log_terms);
  plan.blocks = Divisor(blocks);
  const std::int64_t most =
      std::max<std::int64_t>(1, (plan.summed.number >> plan.log_terms) / kLeastPlaces);
  const std::int64_t wanted = std::clamp<std::int64_t>(kWantedBlocks / blocks, 1, most);
  plan.per_split = (plan.summed.number + wanted - 1) / wanted;
  plan.splits = blocks_for(plan.summed.number, plan.per_split);
  return plan;
}

/// Names of launches, literals.
struct SumNames {
  const char *sum, *join;
};

template <class F, class Y, class P, class Q>
void launch_sum(const SumNames& names, const OpContext& ctx, const SumPlan& plan,
                const ConstTensorView& dy, const ConstTensorView& p, const ConstTensorView& q,
                const TensorView& t, bool adds) {
  auto* partial = plan.splits == 1 ? nullptr : reinterpret_cast<float*>(ctx.workspace.data());
  const SumTarget target{out_of<Any>(t), adds, partial, plan.sums()};
  launch(names.sum, binary_sum_kernel<F, Y, P, Q>,
         static_cast<unsigned>(plan.blocks.size() * plan.splits), kThreads, 0, ctx.stream,
         in_of<Y>(dy), in_of<P>(p), in_of<Q>(q), plan, target);
  if (partial != nullptr)
    launch(names.join, binary_sum_join_kernel<kJoinLanes>, blocks_for(plan.sums(), kJoinLanes),
           kThreads, 0, ctx.stream, plan.all_kept, plan.splits, target);
}

}  // namespace phalanx::binary
