// SPDX-License-Identifier: Apache-2.0
#include "softmax_cross_entropy/softmax_cross_entropy.hpp"

#include "common/cross_entropy.hpp"

namespace phalanx {

void softmax_cross_entropy_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void softmax_cross_entropy_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 2, "softmax_cross_entropy takes x and labels");
  check_cross_entropy("softmax_cross_entropy", attributes, in[0], in[1]);
  return {{DType::kF32, Shape{}}, {DType::kF32, Shape{in[0].shape[0]}}};
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
