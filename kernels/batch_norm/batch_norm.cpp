// SPDX-License-Identifier: Apache-2.0
#include "batch_norm/batch_norm.hpp"

#include <fmt/format.h>

namespace phalanx {

void batch_norm_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void batch_norm_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> batch_norm_prepare_cpu(const PrepareArguments&);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 5, "batch_norm takes x, scale, bias, mean and var");
  const TensorType& x = in[0];
  if (x.shape.rank() < 2 || !is_float(x.dtype))
    throw InvalidArgument(
        fmt::format("batch_norm: x must be f32 or bf16 [N, C, ...], found {}", x.str()));
  const std::int64_t c = x.shape[1];
  if (c == 0) throw InvalidArgument(fmt::format("batch_norm: x {} has no channels", x.str()));
  constexpr std::string_view kNames[] = {"x", "scale", "bias", "mean", "var"};
  for (std::size_t i = 1; i < in.size(); ++i)
    if (in[i].dtype != DType::kF32 || !(in[i].shape == Shape{c}))
      throw InvalidArgument(
          fmt::format("batch_norm: {} must be f32 [{}], found {}", kNames[i], c, in[i].str()));
  if (!(attributes.get_float("epsilon", 1e-5) > 0))
    throw InvalidArgument("batch_norm: epsilon must be positive");
  const double momentum = attributes.get_float("momentum", 0.9);
  if (!(momentum >= 0 && momentum <= 1))
    throw InvalidArgument(
        fmt::format("batch_norm: momentum must be in [0, 1], found {}", momentum));
  const TensorType per_channel{DType::kF32, Shape{c}};
  if (attributes.get_int("training_mode", 0) == 0) return {x};
  return {x, per_channel, per_channel, per_channel, per_channel};
}

constexpr AliasRule kAliases[] = {
    {0, 0, AliasKind::kMay}, {1, 3, AliasKind::kUpdate}, {2, 4, AliasKind::kUpdate}};

}  // namespace

const OpSpec batch_norm_op = {
    .name = "batch_norm",
    .onnx = "BatchNormalization",
    .infer = infer,
    .saved_outputs = 2,
    .differentiable = 0b00111,
    .needs_inputs = 0b11011,
    .needs_outputs = 0b11000,
    .layout = LayoutRule::kSame,
    .aliases = kAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = batch_norm_forward_cpu,
            .backward = batch_norm_backward_cpu,
            .prepare_forward = batch_norm_prepare_cpu,
            .prepare_backward = batch_norm_prepare_cpu},
};

}  // namespace phalanx
