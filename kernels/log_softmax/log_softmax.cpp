// SPDX-License-Identifier: Apache-2.0
#include "log_softmax/log_softmax.hpp"

#include "common/softmax.hpp"

namespace phalanx {

void log_softmax_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void log_softmax_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec log_softmax_op = {
    .name = "log_softmax",
    .onnx = "LogSoftmax",
    .infer = [](const Attributes& attributes,
                Types in) { return infer_softmax("log_softmax", attributes, in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = log_softmax_forward_cpu, .backward = log_softmax_backward_cpu},
};

}  // namespace phalanx
