// SPDX-License-Identifier: Apache-2.0
#include "common/cross_entropy_cuda.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  const RowsShape rows = cross_entropy_rows(in[0].shape());
  cross_entropy_on_device<false>(
      "softmax_cross_entropy_forward", ctx,
      {.x = in[0].as<float>(),
       .label = in[1].as<std::int64_t>(),
       .rows = rows,
       .log_sum = out[1].as<float>(),
       .outputs = {{out[0].as<float>()}, {cross_entropy_scale(ctx.attributes, rows.count)}}});
}

constexpr int kGradientPacks = 4;  // of a thread

struct Gradient {
  const float* x;
  const std::int64_t* label;
  const float *log_sum, *dloss;
  float scale;
  float* dx;
  RowsShape rows;
};

/// Who       `threads` neighbouring threads take up to kGradientPacks packs each of one row, the y-th part of it; a block as
///           many rows as it has such teams
/// Memory    registers; each byte is read and written once
/// Barriers  none
/// Bound     by bytes
/// Sizes     any
template <int kPack>
__global__ void __launch_bounds__(kRowThreads)
    softmax_cross_entropy_backward_kernel(Gradient p, int threads) {
  const int rank = static_cast<int>(threadIdx.x) & (threads - 1), teams = kRowThreads / threads;
  const std::int64_t row =
      static_cast<std::int64_t>(blockIdx.x) * teams + static_cast<int>(threadIdx.x) / threads;
  if (row >= p.rows.count) return;
  const int packs = static_cast<int>(p.rows.size / kPack),
            first = static_cast<int>(blockIdx.y) * threads * kGradientPacks + rank;
  const float* x = p.x + row * p.rows.size;
  float* dx = p.dx + row * p.rows.size;
  float v[kGradientPacks][kPack];
#pragma unroll
  for (int u = 0; u < kGradientPacks; ++u)
    if (first + u * threads < packs)
      load(x + static_cast<std::int64_t>(first + u * threads) * kPack, v[u]);
  const float dloss = *p.dloss * p.scale, log_sum = p.log_sum[row];
  const auto label = static_cast<int>(p.label[row]);
#pragma unroll
  for (int u = 0; u < kGradientPacks; ++u) {
    const int pack = first + u * threads;
    if (pack >= packs) break;
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      v[u][k] = dloss * expf(v[u][k] - log_sum);
      if (pack * kPack + k == label) v[u][k] -= dloss;
    }
    store(v[u], dx + static_cast<std::int64_t>(pack) * kPack);
  }
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  const RowsShape rows = cross_entropy_rows(in[0].shape());
  const Gradient p{.x = in[0].as<float>(),
                   .label = in[1].as<std::int64_t>(),
                   .log_sum = in[3].as<float>(),
                   .dloss = in[4].as<float>(),
                   .scale = cross_entropy_scale(ctx.attributes, rows.count),
                   .dx = out[0].as<float>(),
                   .rows = rows};
  with_row_pack<float>(rows.size, [&]<int kPack>() {
    const std::int64_t packs = rows.size / kPack;
    const int threads = static_cast<int>(
        std::bit_ceil(static_cast<unsigned>(std::min<std::int64_t>(packs, kRowThreads))));
    const dim3 grid(blocks_for(rows.count, kRowThreads / threads),
                    blocks_for(packs, std::int64_t{threads} * kGradientPacks));
    launch("softmax_cross_entropy_backward", softmax_cross_entropy_backward_kernel<kPack>, grid,
           kRowThreads, 0, ctx.stream, p, threads);
  });
}

}  // namespace

extern const DeviceKernels softmax_cross_entropy_cuda;
const DeviceKernels softmax_cross_entropy_cuda = {
    .forward = forward,
    .backward = backward,
    .prepare_forward = cross_entropy_prepare_on_device<false>};

}  // namespace phalanx
