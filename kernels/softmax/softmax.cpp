// SPDX-License-Identifier: Apache-2.0
#include "softmax/softmax.hpp"

#include "common/softmax.hpp"

namespace phalanx {

void softmax_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void softmax_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec softmax_op = {
    .name = "softmax",
    .onnx = "Softmax",
    .infer = [](const Attributes& attributes,
                Types in) { return infer_softmax("softmax", attributes, in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = softmax_forward_cpu, .backward = softmax_backward_cpu},
};

}  // namespace phalanx
