// SPDX-License-Identifier: Apache-2.0
#include "mul/mul.hpp"

#include "common/binary.hpp"

namespace phalanx {

void mul_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void mul_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec mul_op = {
    .name = "mul",
    .onnx = "Mul",
    .infer = [](const Attributes&, Types in) { return infer_binary("mul", in); },
    .differentiable = 0b11,
    .parameter_inputs = 0b11,
    .needs_inputs = 0b11,
    .layout = LayoutRule::kSame,
    .aliases = kBinaryAliases,
    .dx_may_overwrite_dy = 0b11,
    .flops = binary_flops,
    .cpu = {.forward = mul_forward_cpu,
            .backward = mul_backward_cpu,
            .prepare_forward = binary_prepare_forward_cpu,
            .prepare_backward = binary_prepare_backward_cpu},
};

}  // namespace phalanx
