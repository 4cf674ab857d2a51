// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/gemm_plan.hpp"
#include "common/launch.hpp"
#include "common/pack.hpp"
#include "gemm/gemm.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

// --- gradients behind the activation, and sums of columns

struct Columns {
  const void *y, *dy;
  void* gradient;  // dy where y > 0; null: dy itself is the gradient
  float* partial;  // sums of columns, one row for each block of rows; null: not wanted
  std::int64_t rows, rows_of_block;
  int columns;
};

/// Who       a warp takes 32 kPack neighbouring columns of every eighth row of its block, a thread kPack of them
/// Memory    sums in registers, of the warps in shared memory; y and dy are read once, several rows are under way at once
/// Barriers  one, between the sums of the warps and that of the block, in the order of the warps
/// Bound     by bytes
/// Sizes     any; kPack > 1: columns are a multiple of it
template <class T, int kPack, bool kRelu>
__global__ void __launch_bounds__(kThreads) gemm_backward_columns_kernel(const Columns p) {
  __shared__ float of_warps[kWarps][32 * kPack];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int column = (static_cast<int>(blockIdx.x) * 32 + lane) * kPack;
  const std::int64_t begin = blockIdx.y * p.rows_of_block,
                     end = begin + p.rows_of_block < p.rows ? begin + p.rows_of_block : p.rows;
  float sum[kPack] = {};
  if (column < p.columns) {
#pragma unroll 4
    for (std::int64_t row = begin + warp; row < end; row += kWarps) {
      const std::int64_t at = row * p.columns + column;
      float g[kPack];
      load(static_cast<const T*>(p.dy) + at, g);
      if constexpr (kRelu) {
        float y[kPack];
        load(static_cast<const T*>(p.y) + at, y);
#pragma unroll
        for (int i = 0; i < kPack; ++i) g[i] = y[i] > 0.0f ? g[i] : 0.0f;
        store(g, static_cast<T*>(p.gradient) + at);
      }
#pragma unroll
      for (int i = 0; i < kPack; ++i) sum[i] += g[i];
    }
  }
  if (p.partial == nullptr) return;
#pragma unroll
  for (int i = 0; i < kPack; ++i) of_warps[warp][lane * kPack + i] = sum[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 32 * kPack; i += kThreads) {
    const int at = static_cast<int>(blockIdx.x) * 32 * kPack + i;
    if (at >= p.columns) break;
    float total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total += of_warps[w][i];
    p.partial[static_cast<std::int64_t>(blockIdx.y) * p.columns + at] = total;
  }
}

/// Who       each thread sums one column of the partial sums, in order
/// Memory    registers
/// Barriers  none
/// Bound     by bytes
/// Sizes     any
__global__ void __launch_bounds__(kThreads)
    gemm_backward_columns_total_kernel(const float* __restrict__ partial, int blocks, int columns,
                                       float beta, bool adds, float* __restrict__ dc) {
  const int column = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (column >= columns) return;
  float sum = 0;
#pragma unroll 8
  for (int i = 0; i < blocks; ++i) sum += partial[static_cast<std::int64_t>(i) * columns + column];
  dc[column] = beta * sum + (adds ? dc[column] : 0.0f);
}

// --- other shapes of c

/// Who       a warp sums a row, in double, for it cancels; lanes take every 32nd element
/// Memory    registers
/// Barriers  none: lanes meet by shuffles
/// Bound     by bytes
/// Sizes     any; `sums` or `dc` is null
template <class T>
__global__ void __launch_bounds__(kThreads)
    gemm_backward_rows_kernel(const T* __restrict__ gradient, int rows, int columns, float beta,
                              bool adds, double* __restrict__ sums, float* __restrict__ dc) {
  const int row = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  if (row >= rows) return;
  const T* from = gradient + static_cast<std::int64_t>(row) * columns;
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x % 32); i < columns; i += 32)
    sum += static_cast<double>(to_f32(from[i]));
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  if (threadIdx.x % 32 != 0) return;
  if (sums != nullptr)
    sums[row] = sum;
  else
    dc[row] = static_cast<float>(static_cast<double>(beta) * sum) + (adds ? dc[row] : 0.0f);
}

/// Who       one block, each thread every kThreads-th sum of a row
/// Memory    one double per warp in shared memory
/// Barriers  one, between the sums of the warps and their sum
/// Bound     by latency: there are as many numbers as rows
/// Sizes     any
__global__ void __launch_bounds__(kThreads)
    gemm_backward_total_kernel(const double* __restrict__ sums, int rows, float beta, bool adds,
                               float* __restrict__ dc) {
  __shared__ double of_warps[kWarps];
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < rows; i += kThreads) sum += sums[i];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += of_warps[w];
  *dc = static_cast<float>(static_cast<double>(beta) * sum) + (adds ? *dc : 0.0f);
}

/// Who       each thread takes one element
/// Memory    registers
/// Barriers  none
/// Bound     by bytes
/// Sizes     any
template <class T>
__global__ void __launch_bounds__(kThreads)
    gemm_backward_full_kernel(const T* __restrict__ gradient, std::int64_t count, float beta,
                              bool adds, float* __restrict__ dc) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) dc[i] = beta * to_f32(gradient[i]) + (adds ? dc[i] : 0.0f);
}

// --- products

GemmProblem product_of(std::int64_t m, std::int64_t n, std::int64_t k, DType type, DType out_type,
                       float alpha) {
  return {
      .m = m, .n = n, .k = k, .type = type, .out_type = out_type, .d_stride = n, .alpha = alpha};
}

/// An operand [extent, K] whose memory is row-major: K along its rows, or along its columns.
void set_a(GemmProblem& p, bool along_k) {
  p.a_along_k = along_k;
  p.a_stride = along_k ? p.k : p.m;
}
void set_b(GemmProblem& p, bool along_k) {
  p.b_along_k = along_k;
  p.b_stride = along_k ? p.k : p.n;
}

struct ForwardState final : OpState {
  GemmPlan y;
  std::size_t workspace_bytes() const noexcept override { return y.workspace_bytes(); }
};

/// The shape of c decides how its gradient is summed.
enum class SumOf { kNothing, kColumns, kRows, kEverything };

SumOf sum_of(const GemmStrides& c) {
  if (c.row != 0) return c.column != 0 ? SumOf::kNothing : SumOf::kRows;
  return c.column != 0 ? SumOf::kColumns : SumOf::kEverything;
}

/// How the rows of a gradient are cut for the sums of its columns: into enough blocks to fill a GPU.
struct RowBlocks {
  std::int64_t rows_of_block = 1;
  int count = 0;

  RowBlocks() = default;
  RowBlocks(std::int64_t rows, std::int64_t columns, int multiprocessors, DType type) {
    constexpr std::int64_t kFewestRows = 4 * kWarps;
    const auto columns_of_block = static_cast<std::int64_t>(32 * 16 / size_bytes(type));
    const std::int64_t across = (columns + columns_of_block - 1) / columns_of_block;
    const std::int64_t wanted =
        std::max<std::int64_t>(4 * multiprocessors / std::max<std::int64_t>(across, 1), 1);
    rows_of_block = std::max((rows + wanted - 1) / wanted, kFewestRows);
    count = static_cast<int>((rows + rows_of_block - 1) / rows_of_block);
  }
};

struct BackwardState final : OpState {
  GemmPlan da, db;
  RowBlocks row_blocks;
  std::size_t gradient_bytes = 0, sums_bytes = 0;  // in front of what products need
  std::size_t workspace_bytes() const noexcept override {
    return gradient_bytes + sums_bytes + std::max(da.workspace_bytes(), db.workspace_bytes());
  }
};

std::unique_ptr<OpState> prepare_forward(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  const GemmSizes s = gemm_sizes(attributes, in[0].shape, in[1].shape);
  GemmProblem p = product_of(s.m, s.n, s.k, in[0].dtype, out[0].dtype, s.alpha);
  set_a(p, !s.trans_a);
  set_b(p, s.trans_b);
  p.relu = s.relu;
  if (in.size() == 3 && in_present[2]) {
    const GemmStrides c = gemm_strides_of_c(in[2].shape, s.m, s.n);
    p.has_c = true, p.beta = s.beta;
    p.c_row = c.row, p.c_column = c.column;
  }
  auto state = std::make_unique<ForwardState>();
  state->y = GemmPlan(p, device);
  return state;
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  const GemmOperands operands{.a = in[0].data,
                              .b = in[1].data,
                              .c = in.size() == 3 ? in[2].as<float>() : nullptr,
                              .d = out[0].data};
  static_cast<ForwardState&>(*ctx.state)
      .y.run("gemm_forward", operands, ctx.workspace.data(), ctx.stream);
}

std::unique_ptr<OpState> prepare_backward(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  // in: a, b, c, y, dy (a dense layer without bias has no c); out: da, db, dc
  const GemmSizes s = gemm_sizes(attributes, in[0].shape, in[1].shape);
  const DType type = in.back().dtype;
  auto state = std::make_unique<BackwardState>();
  if (out_present[0]) {
    GemmProblem p = s.trans_a ? product_of(s.k, s.m, s.n, type, out[0].dtype, s.alpha)
                              : product_of(s.m, s.k, s.n, type, out[0].dtype, s.alpha);
    if (s.trans_a) {
      set_a(p, !s.trans_b);
      set_b(p, true);
    } else {
      set_a(p, true);
      set_b(p, !s.trans_b);
    }
    state->da = GemmPlan(p, device);
  }
  if (out_present[1]) {
    GemmProblem p = s.trans_b ? product_of(s.n, s.k, s.m, type, out[1].dtype, s.alpha)
                              : product_of(s.k, s.n, s.m, type, out[1].dtype, s.alpha);
    if (s.trans_b) {
      set_a(p, false);
      set_b(p, s.trans_a);
    } else {
      set_a(p, s.trans_a);
      set_b(p, false);
    }
    state->db = GemmPlan(p, device);
  }
  state->row_blocks = RowBlocks(s.m, s.n, device.backend->info(device.index).multiprocessors, type);
  if (s.relu) state->gradient_bytes = align_up(in.back().size_bytes());
  if (out.size() == 3 && out_present[2]) {
    const SumOf sum = sum_of(gemm_strides_of_c(out[2].shape, s.m, s.n));
    if (sum == SumOf::kColumns)
      state->sums_bytes =
          align_up(static_cast<std::size_t>(state->row_blocks.count * s.n) * sizeof(float));
    if (sum == SumOf::kEverything)
      state->sums_bytes = align_up(static_cast<std::size_t>(s.m) * sizeof(double));
  }
  return state;
}

/// The gradient behind the activation and the partial sums of its columns, of which either may not be wanted.
template <class T>
void walk_columns(const Columns& p, const RowBlocks& blocks, const Stream& stream) {
  if (p.rows == 0) return;
  constexpr int kPack = kPackElements<T>;
  const bool packs = p.columns % kPack == 0;
  const bool relu = p.gradient != nullptr;
  const auto kernel = packs ? (relu ? gemm_backward_columns_kernel<T, kPack, true>
                                    : gemm_backward_columns_kernel<T, kPack, false>)
                            : (relu ? gemm_backward_columns_kernel<T, 1, true>
                                    : gemm_backward_columns_kernel<T, 1, false>);
  const dim3 grid(blocks_for(p.columns, 32 * (packs ? kPack : 1)),
                  static_cast<unsigned>(blocks.count));
  launch("gemm_backward_columns", kernel, grid, kThreads, 0, stream, p);
}

/// dc from a gradient that has passed the activation; of columns, from their partial sums.
template <class T>
void sum_to_c(const GemmSizes& s, SumOf sum, const T* gradient, std::byte* sums, int row_blocks,
              bool adds, const TensorView& dc, const Stream& stream) {
  const int m = static_cast<int>(s.m), n = static_cast<int>(s.n);
  auto* to = dc.as<float>();
  switch (sum) {
    case SumOf::kNothing:
      return launch("gemm_backward_full", gemm_backward_full_kernel<T>,
                    blocks_for(s.m * s.n, kThreads), kThreads, 0, stream, gradient, s.m * s.n,
                    s.beta, adds, to);
    case SumOf::kColumns:
      return launch("gemm_backward_columns_total", gemm_backward_columns_total_kernel,
                    blocks_for(n, kThreads), kThreads, 0, stream,
                    reinterpret_cast<const float*>(sums), row_blocks, n, s.beta, adds, to);
    case SumOf::kRows:
      return launch("gemm_backward_rows", gemm_backward_rows_kernel<T>, blocks_for(m, kWarps),
                    kThreads, 0, stream, gradient, m, n, s.beta, adds, nullptr, to);
    case SumOf::kEverything: break;
  }
  auto* rows = reinterpret_cast<double*>(sums);
  launch("gemm_backward_rows", gemm_backward_rows_kernel<T>, blocks_for(m, kWarps), kThreads, 0,
         stream, gradient, m, n, s.beta, false, rows, nullptr);
  launch("gemm_backward_total", gemm_backward_total_kernel, 1, kThreads, 0, stream, rows, m, s.beta,
         adds, to);
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  auto& state = static_cast<BackwardState&>(*ctx.state);
  const GemmSizes s = gemm_sizes(ctx.attributes, in[0].shape(), in[1].shape());
  const void* gradient = in.back().data;
  std::byte* sums = ctx.workspace.data() + state.gradient_bytes;
  std::byte* scratch = sums + state.sums_bytes;
  const TensorView dc = out.size() == 3 && out[2].numel() > 0 ? out[2] : TensorView{};
  with_cuda_type(in.back().type.dtype, [&]<class T>() {
    const SumOf sum = dc ? sum_of(gemm_strides_of_c(dc.shape(), s.m, s.n)) : SumOf::kNothing;
    const bool sums_columns = dc && sum == SumOf::kColumns;
    if (s.relu || sums_columns) {
      const Columns columns{.y = in[in.size() - 2].data,
                            .dy = gradient,
                            .gradient = s.relu ? ctx.workspace.data() : nullptr,
                            .partial = sums_columns ? reinterpret_cast<float*>(sums) : nullptr,
                            .rows = s.m,
                            .rows_of_block = state.row_blocks.rows_of_block,
                            .columns = static_cast<int>(s.n)};
      walk_columns<T>(columns, state.row_blocks, ctx.stream);
      if (s.relu) gradient = ctx.workspace.data();
    }
    if (dc)
      sum_to_c(s, sum, static_cast<const T*>(gradient), sums, state.row_blocks.count,
               ctx.adds_to(2), dc, ctx.stream);
  });
  const void *a = in[0].data, *b = in[1].data;
  if (state.db)
    state.db.run("gemm_backward_b",
                 {.a = s.trans_b ? gradient : a,
                  .b = s.trans_b ? a : gradient,
                  .d = out[1].data,
                  .adds = ctx.adds_to(1)},
                 scratch, ctx.stream);
  if (state.da)
    state.da.run("gemm_backward_a",
                 {.a = s.trans_a ? b : gradient,
                  .b = s.trans_a ? gradient : b,
                  .d = out[0].data,
                  .adds = ctx.adds_to(0)},
                 scratch, ctx.stream);
}

}  // namespace

extern const DeviceKernels gemm_cuda;
const DeviceKernels gemm_cuda = {.forward = forward,
                                 .backward = backward,
                                 .prepare_forward = prepare_forward,
                                 .prepare_backward = prepare_backward};

}  // namespace phalanx
