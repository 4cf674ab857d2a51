// SPDX-License-Identifier: Apache-2.0
#include "concat/concat.hpp"

#include <fmt/format.h>

namespace phalanx {

void concat_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void concat_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

constexpr std::size_t kMostInputs = 31;  // operands are named by the bits of a word

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  if (in.empty() || in.size() > kMostInputs)
    throw InvalidArgument(
        fmt::format("concat takes 1 to {} inputs, found {}", kMostInputs, in.size()));
  require(attributes.has("axis"), "concat needs the attribute 'axis'");
  if (!is_float(in[0].dtype))
    throw InvalidArgument(fmt::format("concat needs a floating type, found {}", in[0].str()));
  const int axis = in[0].shape.normalised_axis(attributes.get_int("axis", 0));
  std::int64_t size = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i].dtype != in[0].dtype || in[i].shape.rank() != in[0].shape.rank() ||
        !(in[i].shape.with(axis, 0) == in[0].shape.with(axis, 0)))
      throw InvalidArgument(
          fmt::format("concat along axis {}: input {} is {}, which does not fit {}", axis, i,
                      in[i].str(), in[0].str()));
    size += in[i].shape[axis];
  }
  return {{in[0].dtype, in[0].shape.with(axis, size)}};
}

}  // namespace

const OpSpec concat_op = {
    .name = "concat",
    .onnx = "Concat",
    .infer = infer,
    .differentiable = kAllOperands,
    .parameter_inputs = 0,
    .needs_inputs = kAllOperands,  // for their sizes
    .cpu = {.forward = concat_forward_cpu, .backward = concat_backward_cpu},
};

}  // namespace phalanx
