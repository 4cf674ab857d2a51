// SPDX-License-Identifier: Apache-2.0
#include "sub/sub.hpp"

#include "common/binary.hpp"

namespace phalanx {

void sub_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void sub_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec sub_op = {
    .name = "sub",
    .onnx = "Sub",
    .infer = [](const Attributes&, Types in) { return infer_binary("sub", in); },
    .differentiable = 0b11,
    .parameter_inputs = 0b11,
    .layout = LayoutRule::kSame,
    .aliases = kBinaryAliases,
    .dx_may_overwrite_dy = 0b11,
    .flops = binary_flops,
    .cpu = {.forward = sub_forward_cpu,
            .backward = sub_backward_cpu,
            .prepare_forward = binary_prepare_forward_cpu,
            .prepare_backward = binary_prepare_backward_cpu},
};

}  // namespace phalanx
