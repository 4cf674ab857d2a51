// SPDX-License-Identifier: Apache-2.0
#include "average_pool/average_pool.hpp"

#include <fmt/format.h>

#include "common/window.hpp"

namespace phalanx {

void average_pool_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void average_pool_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> average_pool_prepare_backward_cpu(const PrepareArguments&);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 1, "average_pool takes one input");
  if (!is_float(in[0].dtype))
    throw InvalidArgument(
        fmt::format("average_pool: x must be f32 or bf16, found {}", in[0].str()));
  const Window2d window = pool_window("average_pool", attributes, in[0].shape);
  return {{in[0].dtype, Shape{in[0].shape[0], in[0].shape[1], window.h.out, window.w.out}}};
}

}  // namespace

const OpSpec average_pool_op = {
    .name = "average_pool",
    .onnx = "AveragePool",
    .infer = infer,
    .differentiable = 0b1,
    .layout = LayoutRule::kSame,
    .cpu = {.forward = average_pool_forward_cpu,
            .backward = average_pool_backward_cpu,
            .prepare_backward = average_pool_prepare_backward_cpu},
};

}  // namespace phalanx
