// SPDX-License-Identifier: Apache-2.0
#include "log_softmax/log_softmax.hpp"

#include "common/unary.hpp"

namespace phalanx {

void log_softmax_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void log_softmax_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  std::vector<TensorType> out = infer_unary("log_softmax", in);
  const std::int64_t axis = attributes.get_int("axis", -1), rank = in[0].shape.rank();
  if (axis < -rank || axis >= rank)
    throw InvalidArgument(
        fmt::format("log_softmax: axis {} does not exist in shape {}", axis, in[0].shape.str()));
  return out;
}

}  // namespace

const OpSpec log_softmax_op = {
    .name = "log_softmax",
    .onnx = "LogSoftmax",
    .infer = infer,
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = log_softmax_forward_cpu, .backward = log_softmax_backward_cpu},
};

}  // namespace phalanx
