// SPDX-License-Identifier: Apache-2.0
#include "tanh/tanh.hpp"

#include "common/unary.hpp"

namespace phalanx {

void tanh_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void tanh_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec tanh_op = {
    .name = "tanh",
    .onnx = "Tanh",
    .infer = [](const Attributes&, Types in) { return infer_unary("tanh", in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = tanh_forward_cpu, .backward = tanh_backward_cpu},
};

}  // namespace phalanx
