// SPDX-License-Identifier: Apache-2.0
#include "softplus/softplus.hpp"

#include "common/unary.hpp"

namespace phalanx {

void softplus_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void softplus_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec softplus_op = {
    .name = "softplus",
    .onnx = "Softplus",
    .infer = [](const Attributes&, Types in) { return infer_unary("softplus", in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = softplus_forward_cpu, .backward = softplus_backward_cpu},
};

}  // namespace phalanx
