// SPDX-License-Identifier: Apache-2.0
#include "elu/elu.hpp"

#include "common/unary.hpp"

namespace phalanx {

void elu_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void elu_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

const OpSpec elu_op = {
    .name = "elu",
    .onnx = "Elu",
    .infer = [](const Attributes& attributes,
                Types in) { return infer_unary_alpha("elu", 1, attributes, in); },
    .differentiable = 0b1,
    .needs_outputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = elu_forward_cpu, .backward = elu_backward_cpu},
};

}  // namespace phalanx
