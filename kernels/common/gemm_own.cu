// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_own.hpp"

#include <cmath>
#include <limits>

#include "common/gemm_launch.hpp"
#include "device/buffer.hpp"

namespace phalanx {
namespace {

using gemm::Arguments;
using gemm::TileSize;

// --- sums of splits

constexpr int kSumThreads = 256;

struct PartialSums {
  const float* from;
  std::int64_t step;  // from split to split, and from batch to batch after the last one
  unsigned splits, blocks_of_matrix;
  int m, n, packs_of_row;
  gemm::Axes batches;
  gemm::Output out;
};

/// Who       each thread sums four neighbours of a row over all splits, in order; a block stays within one matrix
/// Memory    registers; partial sums are read once, and the next ones are under way meanwhile
/// Barriers  none
/// Bound     by bytes
/// Sizes     rows of partial sums have multiples of 4 elements
__global__ void __launch_bounds__(kSumThreads) gemm_sum_splits_kernel(const PartialSums p) {
  const unsigned batch = blockIdx.x / p.blocks_of_matrix;
  const unsigned block = blockIdx.x - batch * p.blocks_of_matrix;
  const int pack = static_cast<int>(block * kSumThreads + threadIdx.x);
  const int row = pack / p.packs_of_row, column = (pack - row * p.packs_of_row) * 4;
  if (row >= p.m) return;
  const float* from = p.from + batch * p.splits * p.step + static_cast<std::int64_t>(pack) * 4;
  float sum[4] = {};
#pragma unroll 4
  for (unsigned split = 0; split < p.splits; ++split, from += p.step) {
    float x[4];
    load(from, x);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += x[i];
  }
  gemm::write(p.out, p.batches.offset(p.batches.d, batch), row, column, p.n - column, sum);
}

// --- what a problem looks like to the kernels

gemm::Axes axes_of(const GemmAxes& axes) {
  gemm::Axes on_device;
  on_device.used = axes.used;
  for (int i = 0; i < axes.used; ++i) {
    const GemmAxis& axis = axes.axis[static_cast<std::size_t>(i)];
    on_device.count[i] = static_cast<unsigned>(axis.count);
    on_device.a[i] = axis.a, on_device.b[i] = axis.b, on_device.d[i] = axis.d;
  }
  return on_device;
}

/// Whether a row and every matrix of an operand begin at multiples of `elements`.
bool all_multiples(const GemmProblem& p, std::int64_t row, std::int64_t GemmAxis::*step,
                   std::int64_t elements) {
  bool all = row % elements == 0;
  for (const GemmAxes* axes : {&p.batches, &p.sums})
    for (int i = 0; i < axes->used; ++i)
      all = all && axes->axis[static_cast<std::size_t>(i)].*step % elements == 0;
  return all;
}

gemm::Alignment alignment_of(const GemmProblem& p) {
  const auto elements = static_cast<std::int64_t>(16 / size_bytes(p.type));
  return {all_multiples(p, p.a_stride, &GemmAxis::a, elements),
          all_multiples(p, p.b_stride, &GemmAxis::b, elements)};
}

enum class Family { kF32, kBf16, kTf32 };
Family family_of(const GemmProblem& p) {
  return p.type == DType::kBf16 ? Family::kBf16 : p.tf32 ? Family::kTf32 : Family::kF32;
}
TileSize size_of(Family family, GemmTile tile) {
  switch (family) {
    case Family::kF32: return gemm::f32_tile(tile);
    case Family::kBf16: return gemm::bf16_tile(tile);
    case Family::kTf32: break;
  }
  return gemm::tf32_tile(tile);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t steps_of(const GemmProblem& p, const TileSize& size) {
  return p.has_product() ? ceil_div(p.k, size.depth) * p.sums.count() : 0;
}
std::int64_t tiles_of(const GemmProblem& p, const TileSize& size) {
  return ceil_div(p.m, size.rows) * ceil_div(p.n, size.columns) * p.batches.count();
}
/// Elements of one partial sum.
std::int64_t partial_of(const GemmProblem& p) { return p.m * ceil_div(p.n, 4) * 4; }

// --- a rough model of the GPU

/// Of a family's tiles. Time is counted in elements of d times steps that one multiprocessor goes through at its best.
struct TileModel {
  int resident;       ///< blocks that fit on a multiprocessor at once
  double efficiency;  ///< when they are there
};
TileModel model_of(Family family, GemmTile tile) {
  if (family == Family::kF32)
    return tile == GemmTile::kSmall ? TileModel{4, 0.65} : TileModel{2, 1.0};
  switch (tile) {
    case GemmTile::kSmall: return {4, 0.5};
    case GemmTile::kMedium: return {2, 0.85};
    case GemmTile::kLarge: break;
  }
  return {1, 1.0};
}

double time_of(const GemmProblem& p, Family family, GemmTiling tiling, int multiprocessors) {
  constexpr double kFillAndDrain = 6;  // steps
  constexpr double kLaunchClocks = 2000, kBytesPerClock = 20;
  const double per_clock = family == Family::kF32 ? 8 : 20;
  const TileSize size = size_of(family, tiling.tile);
  const TileModel model = model_of(family, tiling.tile);
  const std::int64_t steps = ceil_div(steps_of(p, size), tiling.splits);
  const std::int64_t blocks_each = ceil_div(tiles_of(p, size) * tiling.splits, multiprocessors);
  const double share = std::min(1.0, static_cast<double>(blocks_each) / model.resident);
  const double rate = model.efficiency * (model.resident == 1 ? 1 : 0.4 + 0.6 * share);
  const double area = static_cast<double>(size.rows) * size.columns;
  double time =
      static_cast<double>(blocks_each) * area * (static_cast<double>(steps) + kFillAndDrain) / rate;
  if (tiling.splits > 1) {
    const double bytes =
        static_cast<double>(partial_of(p) * p.batches.count()) * 4 * (2 * tiling.splits + 1);
    time += per_clock * (kLaunchClocks + bytes / (multiprocessors * kBytesPerClock));
  }
  return time;
}

}  // namespace

std::vector<GemmTiling> own_tilings(const GemmProblem& problem, int multiprocessors) {
  constexpr std::int64_t kMostPartialBytes = std::int64_t{256} << 20, kFewestSteps = 2;
  const Family family = family_of(problem);
  const gemm::Alignment aligned = alignment_of(problem);
  std::vector<std::pair<double, GemmTiling>> timed;
  for (GemmTile tile : {GemmTile::kSmall, GemmTile::kMedium, GemmTile::kLarge}) {
    const bool exists =
        tile != GemmTile::kLarge || (family != Family::kF32 && aligned.a && aligned.b);
    if (!exists) continue;
    const std::int64_t steps = steps_of(problem, size_of(family, tile));
    for (int splits : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128}) {
      const std::int64_t bytes = partial_of(problem) * problem.batches.count() * splits * 4;
      if (splits > 1 && (steps / splits < kFewestSteps || bytes > kMostPartialBytes)) break;
      const GemmTiling tiling{tile, splits};
      timed.emplace_back(time_of(problem, family, tiling, std::max(multiprocessors, 1)), tiling);
    }
  }
  std::stable_sort(timed.begin(), timed.end(),
                   [](const auto& x, const auto& y) { return x.first < y.first; });
  std::vector<GemmTiling> tilings;
  for (const auto& [time, tiling] : timed) tilings.push_back(tiling);
  return tilings;
}

GemmOwn::GemmOwn(const GemmProblem& problem, GemmTiling tiling)
    : problem_(problem), tiling_(tiling) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const TileSize size = size_of(family_of(problem), tiling.tile);
  const std::int64_t steps = steps_of(problem, size);
  for (std::int64_t count : {problem.m, problem.n, problem.k, steps, partial_of(problem) / 4,
                             tiles_of(problem, size) * tiling.splits})
    require(count <= kMost, "a matrix product is too large: a size is 2^31 or more");
  if (tiling_.splits > 1 && steps > 0) {  // as many as have something to do
    const std::int64_t each = ceil_div(steps, tiling_.splits);
    tiling_.splits = static_cast<int>(ceil_div(steps, each));
  } else {
    tiling_.splits = 1;
  }
  if (tiling_.splits > 1)
    workspace_bytes_ =
        static_cast<std::size_t>(partial_of(problem) * problem.batches.count() * tiling_.splits) *
        sizeof(float);
}

void GemmOwn::run(const char* name, const GemmOperands& operands, std::byte* workspace,
                  BackendStream& stream) const {
  const GemmProblem& p = problem_;
  if (p.is_empty()) return;
  require(is_aligned(operands.a, 16) && is_aligned(operands.b, 16) && is_aligned(operands.d, 16),
          "operands of a matrix product begin at multiples of 16 bytes");
  const Family family = family_of(p);
  const TileSize size = size_of(family, tiling_.tile);
  Arguments arguments{.a = operands.a,
                      .b = operands.b,
                      .a_stride = p.a_stride,
                      .b_stride = p.b_stride,
                      .a_along_k = p.a_along_k,
                      .b_along_k = p.b_along_k,
                      .m = static_cast<int>(p.m),
                      .n = static_cast<int>(p.n),
                      .k = static_cast<int>(p.k),
                      .tiles_m = static_cast<unsigned>(ceil_div(p.m, size.rows)),
                      .tiles_n = static_cast<unsigned>(ceil_div(p.n, size.columns)),
                      .splits = static_cast<unsigned>(tiling_.splits),
                      .steps = static_cast<int>(steps_of(p, size)),
                      .partial = partial_of(p),
                      .batches = axes_of(p.batches),
                      .sums = axes_of(p.sums)};
  arguments.steps_per_split = static_cast<int>(ceil_div(arguments.steps, tiling_.splits));
  arguments.steps_per_matrix = static_cast<int>(ceil_div(p.k, size.depth));
  const gemm::Output out{
      .d = operands.d,
      .c = p.has_c ? operands.c : nullptr,
      .row = p.d_stride,
      .c_row = p.c_row,
      .c_column = p.c_column,
      .alpha = p.alpha,
      .beta = p.beta,
      .relu = p.relu,
      .adds = operands.adds,
      .is_bf16 = p.out_type == DType::kBf16,
      .has_packs = all_multiples(p, p.d_stride, &GemmAxis::d, 4),
      .has_packs_c = p.c_column == 1 && p.c_row % 4 == 0 && is_aligned(operands.c, 16)};
  arguments.out = out;
  if (tiling_.splits > 1)
    arguments.out = {.d = workspace, .row = ceil_div(p.n, 4) * 4, .has_packs = true};
  const auto blocks = static_cast<unsigned>(tiles_of(p, size) * tiling_.splits);
  const gemm::Alignment aligned = alignment_of(p);
  switch (family) {
    case Family::kF32:
      gemm::launch_f32(name, tiling_.tile, aligned, blocks, arguments, stream);
      break;
    case Family::kBf16:
      gemm::launch_bf16(name, tiling_.tile, aligned, blocks, arguments, stream);
      break;
    case Family::kTf32:
      gemm::launch_tf32(name, tiling_.tile, aligned, blocks, arguments, stream);
      break;
  }
  if (tiling_.splits == 1) return;
  const PartialSums sums{.from = reinterpret_cast<const float*>(workspace),
                         .step = arguments.partial,
                         .splits = arguments.splits,
                         .blocks_of_matrix = blocks_for(arguments.partial / 4, kSumThreads),
                         .m = arguments.m,
                         .n = arguments.n,
                         .packs_of_row = static_cast<int>(ceil_div(p.n, 4)),
                         .batches = arguments.batches,
                         .out = out};
  launch("gemm_sum_splits", gemm_sum_splits_kernel,
         sums.blocks_of_matrix * static_cast<unsigned>(p.batches.count()), kSumThreads, 0, stream,
         sums);
}

}  // namespace phalanx
