// SPDX-License-Identifier: Apache-2.0
#include "div/div.hpp"

#include "common/binary.hpp"

namespace phalanx {

void div_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void div_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec div_op = {
    .name = "div",
    .onnx = "Div",
    .infer = [](const Attributes&, Types in) { return infer_binary("div", in); },
    .differentiable = 0b11,
    .parameter_inputs = 0b11,
    .needs_inputs = 0b11,
    .layout = LayoutRule::kSame,
    .aliases = kBinaryAliases,
    .dx_may_overwrite_dy = 0b11,
    .flops = binary_flops,
    .cpu = {.forward = div_forward_cpu,
            .backward = div_backward_cpu,
            .prepare_forward = binary_prepare_forward_cpu,
            .prepare_backward = binary_prepare_backward_cpu},
};

}  // namespace phalanx
