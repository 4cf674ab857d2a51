// SPDX-License-Identifier: Apache-2.0
#include "conv/conv.hpp"

#include <fmt/format.h>

namespace phalanx {

void conv_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void conv_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> conv_prepare_forward_cpu(const PrepareArguments&);
std::unique_ptr<OpState> conv_prepare_backward_cpu(const PrepareArguments&);
void conv_choose_layout_cpu(const Attributes&, Types, Types, std::span<std::int64_t>,
                            std::span<std::int64_t>);

ConvSizes conv_sizes(const Attributes& attributes, const Shape& x, const Shape& w) {
  if (x.rank() != 4 || w.rank() != 4)
    throw InvalidArgument(fmt::format(
        "conv needs x [N, C, H, W] and w [O, C/group, R, S], found {} and {}", x.str(), w.str()));
  if (x[1] < 1 || w.numel() == 0)
    throw InvalidArgument(fmt::format(
        "conv: no axis of w and no channel may be empty, found x {} and w {}", x.str(), w.str()));
  const std::int64_t group = attributes.get_int("group", 1);
  if (group < 1 || x[1] % group != 0 || w[0] % group != 0)
    throw InvalidArgument(fmt::format(
        "conv: group {} must divide the {} channels of x and the {} of w", group, x[1], w[0]));
  if (w[1] * group != x[1])
    throw InvalidArgument(fmt::format("conv: w {} in {} group(s) fits {} channels, x {} has {}",
                                      w.str(), group, w[1] * group, x.str(), x[1]));
  const Ints kernel{w[2], w[3]};
  if (attributes.get_ints("kernel_shape", kernel) != kernel)
    throw InvalidArgument(
        fmt::format("conv: kernel_shape differs from the {} x {} of w", w[2], w[3]));
  const std::string_view f = attributes.get_string("activation", "");
  if (f != "" && f != "relu")
    throw InvalidArgument(fmt::format("conv: the activation must be '' or 'relu', found '{}'", f));
  return {.n = x[0],
          .c = x[1],
          .o = w[0],
          .group = group,
          .window = window_2d("conv", attributes, x[2], x[3], kernel),
          .relu = f == "relu"};
}

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 2 || in.size() == 3, "conv takes x, w and an optional b");
  if (!is_float(in[0].dtype))
    throw InvalidArgument(fmt::format("conv: x must be f32 or bf16, found {}", in[0].str()));
  if (in[1].dtype != DType::kF32)
    throw InvalidArgument(fmt::format("conv: w must be f32, found {}", in[1].str()));
  const ConvSizes s = conv_sizes(attributes, in[0].shape, in[1].shape);
  const bool has_bias = in.size() == 3 && in[2].shape.rank() > 0;  // rank 0 stands for "not given"
  if (has_bias && (in[2].dtype != DType::kF32 || !(in[2].shape == Shape{s.o})))
    throw InvalidArgument(fmt::format("conv: b must be f32 [{}], found {}", s.o, in[2].str()));
  return {{in[0].dtype, Shape{s.n, s.o, s.window.h.out, s.window.w.out}}};
}

std::uint64_t flops(const Attributes& attributes, Types in) {
  const ConvSizes s = conv_sizes(attributes, in[0].shape, in[1].shape);
  return 2 * static_cast<std::uint64_t>(s.n * s.o * s.window.h.out * s.window.w.out) *
         static_cast<std::uint64_t>(in[1].shape.product(1, 4));
}

}  // namespace

const OpSpec conv_op = {
    .name = "conv",
    .onnx = "Conv",
    .infer = infer,
    .optional_inputs = 0b100,
    .differentiable = 0b111,
    .needs_inputs = 0b011,
    .needs_outputs_of =
        [](const Attributes& attributes) {
          return attributes.get_string("activation", "") == "relu" ? 1u : 0u;
        },
    .layout = LayoutRule::kChosen,
    .flops = flops,
    .cpu = {.forward = conv_forward_cpu,
            .backward = conv_backward_cpu,
            .prepare_forward = conv_prepare_forward_cpu,
            .prepare_backward = conv_prepare_backward_cpu,
            .choose_layout = conv_choose_layout_cpu},
};

}  // namespace phalanx
