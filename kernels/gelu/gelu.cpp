// SPDX-License-Identifier: Apache-2.0
#include "gelu/gelu.hpp"

#include <fmt/format.h>

#include "common/unary.hpp"

namespace phalanx {

void gelu_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void gelu_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  const std::string_view approximate = attributes.get_string("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    throw InvalidArgument(
        fmt::format("gelu: approximate must be none or tanh, found '{}'", approximate));
  return infer_unary("gelu", in);
}

}  // namespace

const OpSpec gelu_op = {
    .name = "gelu",
    .onnx = "Gelu",
    .infer = infer,
    .differentiable = 0b1,
    .needs_inputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = gelu_forward_cpu, .backward = gelu_backward_cpu},
};

}  // namespace phalanx
