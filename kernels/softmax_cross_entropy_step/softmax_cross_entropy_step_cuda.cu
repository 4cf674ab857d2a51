// SPDX-License-Identifier: Apache-2.0
#include "common/cross_entropy_cuda.hpp"

namespace phalanx {
namespace {

void forward(OpContext& ctx, Inputs in, Outputs out) {
  const RowsShape rows = cross_entropy_rows(in[0].shape());
  const float scale = cross_entropy_scale(ctx.attributes, rows.count);
  cross_entropy_on_device<true>(
      "softmax_cross_entropy_step_forward", ctx,
      {.x = in[0].as<float>(),
       .label = in[1].as<std::int64_t>(),
       .rows = rows,
       .dloss = in[2].as<float>(),
       .dx = out[2].as<float>(),
       .scale = scale,
       .outputs = {{out[0].as<float>(), out[1].as<float>()}, {scale, 1.0}}});
}

}  // namespace

extern const DeviceKernels softmax_cross_entropy_step_cuda;
const DeviceKernels softmax_cross_entropy_step_cuda = {
    .forward = forward, .prepare_forward = cross_entropy_prepare_on_device<true>};

}  // namespace phalanx
