// SPDX-License-Identifier: Apache-2.0
#include "max_pool/max_pool.hpp"

#include <fmt/format.h>

#include "common/window.hpp"

namespace phalanx {

void max_pool_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void max_pool_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> max_pool_prepare_backward_cpu(const PrepareArguments&);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 1, "max_pool takes one input");
  if (!is_float(in[0].dtype))
    throw InvalidArgument(fmt::format("max_pool: x must be f32 or bf16, found {}", in[0].str()));
  if (attributes.get_int("storage_order", 0) != 0)
    throw InvalidArgument("max_pool: storage_order must be 0");
  const Window2d window = pool_window("max_pool", attributes, in[0].shape);
  const Shape y{in[0].shape[0], in[0].shape[1], window.h.out, window.w.out};
  return {{in[0].dtype, y}, {window.cells() <= 256 ? DType::kU8 : DType::kI32, y}};
}

}  // namespace

const OpSpec max_pool_op = {
    .name = "max_pool",
    .onnx = "MaxPool",
    .infer = infer,
    .saved_outputs = 1,
    .differentiable = 0b1,
    .needs_outputs = 0b10,
    .layout = LayoutRule::kSame,
    .cpu = {.forward = max_pool_forward_cpu,
            .backward = max_pool_backward_cpu,
            .prepare_backward = max_pool_prepare_backward_cpu},
};

}  // namespace phalanx
