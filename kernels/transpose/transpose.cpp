// SPDX-License-Identifier: Apache-2.0
#include "transpose/transpose.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace phalanx {

void transpose_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void transpose_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

Ints transpose_permutation(const Attributes& attributes, int rank) {
  Ints reversed;
  for (int a = rank - 1; a >= 0; --a) reversed.push_back(a);
  const Ints perm = attributes.get_ints("perm", reversed);
  Ints sorted = perm, identity = reversed;
  std::ranges::sort(sorted);
  std::ranges::reverse(identity);
  if (sorted != identity)
    throw InvalidArgument(fmt::format("transpose: perm [{}] is no permutation of {} axes",
                                      fmt::join(perm, ", "), rank));
  return perm;
}

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 1, "transpose takes one input");
  if (!is_float(in[0].dtype))
    throw InvalidArgument(fmt::format("transpose needs a floating type, found {}", in[0].str()));
  Ints sizes;
  for (std::int64_t a : transpose_permutation(attributes, in[0].shape.rank()))
    sizes.push_back(in[0].shape[static_cast<int>(a)]);
  return {{in[0].dtype, Shape(std::span<const std::int64_t>(sizes))}};
}

}  // namespace

const OpSpec transpose_op = {
    .name = "transpose",
    .onnx = "Transpose",
    .infer = infer,
    .differentiable = 0b1,
    .cpu = {.forward = transpose_forward_cpu, .backward = transpose_backward_cpu},
};

}  // namespace phalanx
