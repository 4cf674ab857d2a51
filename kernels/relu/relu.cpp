// SPDX-License-Identifier: Apache-2.0
#include "relu/relu.hpp"

#include "common/unary.hpp"

namespace phalanx {

void relu_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void relu_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec relu_op = {
    .name = "relu",
    .onnx = "Relu",
    .infer = [](const Attributes&, Types in) { return infer_unary("relu", in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = relu_forward_cpu, .backward = relu_backward_cpu},
};

}  // namespace phalanx
