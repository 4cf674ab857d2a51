// SPDX-License-Identifier: Apache-2.0
#include "softmax/softmax.hpp"

#include "common/unary.hpp"

namespace phalanx {

void softmax_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void softmax_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  std::vector<TensorType> out = infer_unary("softmax", in);
  const std::int64_t axis = attributes.get_int("axis", -1), rank = in[0].shape.rank();
  if (axis < -rank || axis >= rank)
    throw InvalidArgument(
        fmt::format("softmax: axis {} does not exist in shape {}", axis, in[0].shape.str()));
  return out;
}

}  // namespace

const OpSpec softmax_op = {
    .name = "softmax",
    .onnx = "Softmax",
    .infer = infer,
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = softmax_forward_cpu, .backward = softmax_backward_cpu},
};

}  // namespace phalanx
