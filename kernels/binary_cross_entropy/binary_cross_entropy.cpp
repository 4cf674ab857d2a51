// SPDX-License-Identifier: Apache-2.0
#include "binary_cross_entropy/binary_cross_entropy.hpp"

#include "common/loss.hpp"

namespace phalanx {

void binary_cross_entropy_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void binary_cross_entropy_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec binary_cross_entropy_op = {
    .name = "binary_cross_entropy",
    .onnx = "",
    .infer = [](const Attributes& attributes,
                Types in) { return infer_loss("binary_cross_entropy", attributes, in); },
    .differentiable = 0b01,
    .needs_inputs = 0b11,
    .f32_only = true,
    .cpu = {.forward = binary_cross_entropy_forward_cpu,
            .backward = binary_cross_entropy_backward_cpu},
};

}  // namespace phalanx
