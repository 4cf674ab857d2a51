// SPDX-License-Identifier: Apache-2.0
#include "global_average_pool/global_average_pool.hpp"

#include <fmt/format.h>

namespace phalanx {

void global_average_pool_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void global_average_pool_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> global_average_pool_prepare_forward_cpu(const PrepareArguments&);

namespace {

std::vector<TensorType> infer(const Attributes&, Types in) {
  require(in.size() == 1, "global_average_pool takes one input");
  const Shape& x = in[0].shape;
  if (x.rank() != 4 || !is_float(in[0].dtype))
    throw InvalidArgument(fmt::format(
        "global_average_pool needs f32 or bf16 images [N, C, H, W], found {}", in[0].str()));
  if (x[2] * x[3] == 0)
    throw InvalidArgument(fmt::format("global_average_pool: the images are empty: {}", x.str()));
  return {{in[0].dtype, Shape{x[0], x[1], 1, 1}}};
}

}  // namespace

const OpSpec global_average_pool_op = {
    .name = "global_average_pool",
    .onnx = "GlobalAveragePool",
    .infer = infer,
    .differentiable = 0b1,
    .layout = LayoutRule::kSame,
    .cpu = {.forward = global_average_pool_forward_cpu,
            .backward = global_average_pool_backward_cpu,
            .prepare_forward = global_average_pool_prepare_forward_cpu},
};

}  // namespace phalanx
