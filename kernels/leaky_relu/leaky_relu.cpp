// SPDX-License-Identifier: Apache-2.0
#include "leaky_relu/leaky_relu.hpp"

#include "common/unary.hpp"

namespace phalanx {

void leaky_relu_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void leaky_relu_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec leaky_relu_op = {
    .name = "leaky_relu",
    .onnx = "LeakyRelu",
    .infer = [](const Attributes& attributes,
                Types in) { return infer_unary_alpha("leaky_relu", 0.01, attributes, in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = leaky_relu_forward_cpu, .backward = leaky_relu_backward_cpu},
};

}  // namespace phalanx
