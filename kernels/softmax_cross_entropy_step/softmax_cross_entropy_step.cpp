// SPDX-License-Identifier: Apache-2.0
#include "softmax_cross_entropy_step/softmax_cross_entropy_step.hpp"

#include "common/cross_entropy.hpp"

namespace phalanx {

void softmax_cross_entropy_step_forward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 3, "softmax_cross_entropy_step takes x, labels and dloss");
  const TensorType scalar{DType::kF32, Shape{}};
  check_cross_entropy("softmax_cross_entropy_step", attributes, in[0], in[1]);
  if (!(in[2] == scalar))
    throw InvalidArgument(fmt::format(
        "softmax_cross_entropy_step: dloss must be an f32 scalar, found {}", in[2].str()));
  return {scalar, scalar, in[0]};
}

constexpr AliasRule kAliases[] = {{2, 0, AliasKind::kMay}};

}  // namespace

const OpSpec softmax_cross_entropy_step_op = {
    .name = "softmax_cross_entropy_step",
    .onnx = "",
    .infer = infer,
    .aliases = kAliases,
    .f32_only = true,
    .cpu = {.forward = softmax_cross_entropy_step_forward_cpu},
};

}  // namespace phalanx
