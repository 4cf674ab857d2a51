// SPDX-License-Identifier: Apache-2.0
#include "reorder/reorder.hpp"

#include <fmt/format.h>

namespace phalanx {

void reorder_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void reorder_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 1, "reorder takes one input");
  if (in[0].shape.rank() != 4 || !is_float(in[0].dtype))
    throw InvalidArgument(
        fmt::format("reorder needs floating images [N, C, H, W], found {}", in[0].str()));
  return {{in[0].dtype, in[0].shape, attributes.get_int("channel_block", 1)}};
}

}  // namespace

const OpSpec reorder_op = {
    .name = "reorder",
    .onnx = "",
    .infer = infer,
    .differentiable = 0b1,
    .cpu = {.forward = reorder_forward_cpu, .backward = reorder_backward_cpu},
};

}  // namespace phalanx
