// SPDX-License-Identifier: Apache-2.0
#include "sigmoid/sigmoid.hpp"

#include "common/unary.hpp"

namespace phalanx {

void sigmoid_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void sigmoid_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec sigmoid_op = {
    .name = "sigmoid",
    .onnx = "Sigmoid",
    .infer = [](const Attributes&, Types in) { return infer_unary("sigmoid", in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = sigmoid_forward_cpu, .backward = sigmoid_backward_cpu},
};

}  // namespace phalanx
