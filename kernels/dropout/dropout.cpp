// SPDX-License-Identifier: Apache-2.0
#include "dropout/dropout.hpp"

#include <fmt/format.h>

namespace phalanx {

void dropout_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void dropout_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> dropout_prepare_forward_cpu(const PrepareArguments&);
std::unique_ptr<OpState> dropout_prepare_backward_cpu(const PrepareArguments&);

std::uint32_t dropout_threshold(const Attributes& attributes) {
  const double ratio = attributes.get_float("ratio", 0.5);
  if (!(ratio >= 0 && ratio < 1))
    throw InvalidArgument(fmt::format("dropout: ratio must be in [0, 1), found {}", ratio));
  return static_cast<std::uint32_t>(ratio * 0x1.0p32);
}

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 1, "dropout takes one input");
  if (!is_float(in[0].dtype) || in[0].shape.rank() == 0)
    throw InvalidArgument(
        fmt::format("dropout: x must be f32 or bf16 [N, ...], found {}", in[0].str()));
  dropout_threshold(attributes);
  return {in[0]};
}

constexpr AliasRule kAliases[] = {{0, 0, AliasKind::kMay}};

}  // namespace

const OpSpec dropout_op = {
    .name = "dropout",
    .onnx = "Dropout",
    .infer = infer,
    .differentiable = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kAliases,
    .dx_may_overwrite_dy = 0b1,
    .random = true,
    .cpu = {.forward = dropout_forward_cpu,
            .backward = dropout_backward_cpu,
            .prepare_forward = dropout_prepare_forward_cpu,
            .prepare_backward = dropout_prepare_backward_cpu},
};

}  // namespace phalanx
