// SPDX-License-Identifier: Apache-2.0
#include "flatten/flatten.hpp"

#include <fmt/format.h>

namespace phalanx {

void flatten_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void flatten_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 1, "flatten takes one input");
  const Shape& x = in[0].shape;
  std::int64_t axis = attributes.get_int("axis", 1);
  if (axis < -x.rank() || axis > x.rank())
    throw InvalidArgument(
        fmt::format("flatten: axis {} does not exist in shape {}", axis, x.str()));
  if (axis < 0) axis += x.rank();
  const int a = static_cast<int>(axis);
  return {{in[0].dtype, Shape{x.product(0, a), x.product(a, x.rank())}}};
}

constexpr AliasRule kAliases[] = {{0, 0, AliasKind::kView}};

}  // namespace

const OpSpec flatten_op = {
    .name = "flatten",
    .onnx = "Flatten",
    .infer = infer,
    .differentiable = 0b1,
    .aliases = kAliases,
    .cpu = {.forward = flatten_forward_cpu, .backward = flatten_backward_cpu},
};

}  // namespace phalanx
