// SPDX-License-Identifier: Apache-2.0
#include "identity/identity.hpp"

#include <fmt/format.h>

namespace phalanx {

void identity_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void identity_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes&, Types in) {
  if (in.size() != 1)
    throw InvalidArgument(fmt::format("identity takes one input, found {}", in.size()));
  return {in[0]};
}

constexpr AliasRule kAliases[] = {{0, 0, AliasKind::kView}};

}  // namespace

const OpSpec identity_op = {
    .name = "identity",
    .onnx = "Identity",
    .infer = infer,
    .differentiable = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kAliases,
    .cpu = {.forward = identity_forward_cpu, .backward = identity_backward_cpu},
};

}  // namespace phalanx
