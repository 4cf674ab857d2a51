// SPDX-License-Identifier: Apache-2.0
#include "mean_squared_error/mean_squared_error.hpp"

#include "common/loss.hpp"

namespace phalanx {

void mean_squared_error_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void mean_squared_error_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec mean_squared_error_op = {
    .name = "mean_squared_error",
    .onnx = "",
    .infer = [](const Attributes& attributes,
                Types in) { return infer_loss("mean_squared_error", attributes, in); },
    .differentiable = 0b01,
    .needs_inputs = 0b11,
    .f32_only = true,
    .cpu = {.forward = mean_squared_error_forward_cpu, .backward = mean_squared_error_backward_cpu},
};

}  // namespace phalanx
