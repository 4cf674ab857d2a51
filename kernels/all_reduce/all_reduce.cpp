// SPDX-License-Identifier: Apache-2.0
#include "all_reduce/all_reduce.hpp"

#include <fmt/format.h>

namespace phalanx {

void all_reduce_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void all_reduce_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes&, Types in) {
  require(in.size() == 1, "all_reduce takes one input");
  if (in[0].dtype != DType::kF32)
    throw InvalidArgument(fmt::format("all_reduce sums f32, found {}", in[0].str()));
  return {in[0]};
}

constexpr AliasRule kAliases[] = {{0, 0, AliasKind::kMay}};

}  // namespace

const OpSpec all_reduce_op = {
    .name = "all_reduce",
    .onnx = "",
    .infer = infer,
    .differentiable = 0b1,
    .aliases = kAliases,
    .dx_may_overwrite_dy = 0b1,
    .f32_only = true,
    .collective = true,
    .cpu = {.forward = all_reduce_forward_cpu, .backward = all_reduce_backward_cpu},
};

}  // namespace phalanx
