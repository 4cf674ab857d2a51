// SPDX-License-Identifier: Apache-2.0
#include "cast/cast.hpp"

#include <fmt/format.h>

namespace phalanx {

void cast_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void cast_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  if (in.size() != 1)
    throw InvalidArgument(fmt::format("cast takes one input, found {}", in.size()));
  if (!is_float(in[0].dtype))
    throw InvalidArgument(fmt::format("cast needs a floating type, found {}", in[0].str()));
  const std::string_view to = attributes.get_string("to", "");
  for (DType t : {DType::kF32, DType::kBf16})
    if (to == name(t)) return {{t, in[0].shape, in[0].channel_block}};
  throw InvalidArgument(fmt::format("cast: to must be f32 or bf16, found '{}'", to));
}

}  // namespace

const OpSpec cast_op = {
    .name = "cast",
    .onnx = "Cast",
    .infer = infer,
    .differentiable = 0b1,
    .parameter_inputs = 0b1,
    .layout = LayoutRule::kSame,
    .cpu = {.forward = cast_forward_cpu, .backward = cast_backward_cpu},
};

}  // namespace phalanx
