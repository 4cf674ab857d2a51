// SPDX-License-Identifier: Apache-2.0
#include "add/add.hpp"

#include "common/binary.hpp"

namespace phalanx {

void add_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void add_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec add_op = {
    .name = "add",
    .onnx = "Add",
    .infer = [](const Attributes&, Types in) { return infer_binary("add", in); },
    .differentiable = 0b11,
    .parameter_inputs = 0b11,
    .layout = LayoutRule::kSame,
    .aliases = kBinaryAliases,
    .dx_may_overwrite_dy = 0b11,
    .flops = binary_flops,
    .cpu = {.forward = add_forward_cpu,
            .backward = add_backward_cpu,
            .prepare_forward = binary_prepare_forward_cpu,
            .prepare_backward = binary_prepare_backward_cpu},
};

}  // namespace phalanx
