// SPDX-License-Identifier: Apache-2.0
#include "softmax_cross_entropy/softmax_cross_entropy.hpp"

#include <fmt/format.h>

namespace phalanx {

void softmax_cross_entropy_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void softmax_cross_entropy_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 2, "softmax_cross_entropy takes x and labels");
  const TensorType &x = in[0], &label = in[1];
  if (x.shape.rank() != 2 || x.shape[1] == 0 || x.dtype != DType::kF32)
    throw InvalidArgument(
        fmt::format("softmax_cross_entropy: x must be f32 [N, C] with C > 0, found {}", x.str()));
  if (label.dtype != DType::kI64 || !(label.shape == Shape{x.shape[0]}))
    throw InvalidArgument(fmt::format("softmax_cross_entropy: labels must be i64 [{}], found {}",
                                      x.shape[0], label.str()));
  const auto reduction = attributes.get_string("reduction", "sum");
  if (reduction != "sum" && reduction != "mean")
    throw InvalidArgument(
        fmt::format("softmax_cross_entropy: reduction must be sum or mean, found '{}'", reduction));
  return {{DType::kF32, Shape{}}, {DType::kF32, Shape{x.shape[0]}}};
}

}  // namespace

const OpSpec softmax_cross_entropy_op = {
    .name = "softmax_cross_entropy",
    .onnx = "SoftmaxCrossEntropyLoss",
    .infer = infer,
    .saved_outputs = 1,
    .differentiable = 0b01,
    .needs_inputs = 0b11,
    .needs_outputs = 0b10,
    .f32_only = true,
    .cpu = {.forward = softmax_cross_entropy_forward_cpu,
            .backward = softmax_cross_entropy_backward_cpu},
};

}  // namespace phalanx
