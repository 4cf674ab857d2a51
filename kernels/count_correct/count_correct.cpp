// SPDX-License-Identifier: Apache-2.0
#include "count_correct/count_correct.hpp"

#include <fmt/format.h>

namespace phalanx {

void count_correct_forward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes&, Types in) {
  require(in.size() == 2, "count_correct takes x and target");
  const TensorType &x = in[0], &target = in[1];
  if (x.shape.rank() != 2 || x.shape[1] == 0 || x.dtype != DType::kF32)
    throw InvalidArgument(
        fmt::format("count_correct: x must be f32 [N, C] with C > 0, found {}", x.str()));
  const bool has_classes = target.dtype == DType::kI64 && target.shape == Shape{x.shape[0]};
  const bool is_yes_or_no = target.dtype == DType::kF32 && target.shape == x.shape;
  if (!has_classes && !is_yes_or_no)
    throw InvalidArgument(fmt::format("count_correct: target must be i64 [{}] or f32 {}, found {}",
                                      x.shape[0], x.shape.str(), target.str()));
  return {{DType::kF32, Shape{}}};
}

}  // namespace

const OpSpec count_correct_op = {
    .name = "count_correct",
    .onnx = "",
    .infer = infer,
    .f32_only = true,
    .cpu = {.forward = count_correct_forward_cpu},
};

}  // namespace phalanx
