// SPDX-License-Identifier: Apache-2.0
#include "gemm/gemm.hpp"

#include <fmt/format.h>

namespace phalanx {

void gemm_forward_shards_cpu(OpContext&, std::span<const Inputs>, std::span<const Outputs>);
void gemm_backward_shards_cpu(OpContext&, std::span<const Inputs>, std::span<const Outputs>);
std::unique_ptr<OpState> gemm_prepare_forward_shards_cpu(const PrepareArguments&);
std::unique_ptr<OpState> gemm_prepare_backward_shards_cpu(const PrepareArguments&);
void gemm_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void gemm_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> gemm_prepare_forward_cpu(const PrepareArguments&);
std::unique_ptr<OpState> gemm_prepare_backward_cpu(const PrepareArguments&);

GemmSizes gemm_sizes(const Attributes& attributes, const Shape& a, const Shape& b) {
  GemmSizes s{};
  s.trans_a = attributes.get_int("transA", 0) != 0;
  s.trans_b = attributes.get_int("transB", 0) != 0;
  s.alpha = static_cast<float>(attributes.get_float("alpha", 1));
  s.beta = static_cast<float>(attributes.get_float("beta", 1));
  s.m = a[s.trans_a ? 1 : 0];
  s.k = a[s.trans_a ? 0 : 1];
  s.n = b[s.trans_b ? 0 : 1];
  s.relu = attributes.get_string("activation", "") == "relu";
  return s;
}

GemmStrides gemm_strides_of_c(const Shape& c, std::int64_t m, std::int64_t n) {
  const std::int64_t rows = c.rank() == 2 ? c[0] : 1, columns = c.rank() >= 1 ? c[-1] : 1;
  return {rows == m && m > 1 ? columns : 0, columns == n && n > 1 ? 1 : 0};
}

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 2 || in.size() == 3, "gemm takes two or three inputs");
  const TensorType &a = in[0], &b = in[1];
  if (a.shape.rank() != 2 || b.shape.rank() != 2)
    throw InvalidArgument(
        fmt::format("gemm multiplies matrices, found {} and {}", a.shape.str(), b.shape.str()));
  if (!is_float(a.dtype) || b.dtype != a.dtype)
    throw InvalidArgument(fmt::format("gemm: a and b must have one floating type, found {} and {}",
                                      name(a.dtype), name(b.dtype)));
  const GemmSizes s = gemm_sizes(attributes, a.shape, b.shape);
  const std::int64_t k_of_b = b.shape[s.trans_b ? 1 : 0];
  if (s.k != k_of_b)
    throw InvalidArgument(fmt::format("gemm: the inner sizes differ: {} of {}{} and {} of {}{}",
                                      s.k, a.shape.str(), s.trans_a ? " transposed" : "", k_of_b,
                                      b.shape.str(), s.trans_b ? " transposed" : ""));
  if (const std::string_view f = attributes.get_string("activation", ""); f != "" && f != "relu")
    throw InvalidArgument(fmt::format("gemm: the activation must be '' or 'relu', found '{}'", f));
  const Shape y{s.m, s.n};
  if (in.size() == 3) {
    if (in[2].dtype != DType::kF32)
      throw InvalidArgument(fmt::format("gemm: c must be f32, found {}", in[2].str()));
    if (in[2].shape.rank() > 2 || !(broadcast(in[2].shape, y) == y))
      throw InvalidArgument(
          fmt::format("gemm: c {} does not broadcast to {}", in[2].shape.str(), y.str()));
  }
  return {{a.dtype, y}};
}

std::uint64_t flops(const Attributes& attributes, Types in) {
  const GemmSizes s = gemm_sizes(attributes, in[0].shape, in[1].shape);
  return 2 * static_cast<std::uint64_t>(s.m) * static_cast<std::uint64_t>(s.n) *
         static_cast<std::uint64_t>(s.k);
}

}  // namespace

const OpSpec gemm_op = {
    .name = "gemm",
    .onnx = "Gemm",
    .infer = infer,
    .optional_inputs = 0b100,
    .differentiable = 0b111,
    .needs_inputs = 0b011,
    .needs_outputs_of =
        [](const Attributes& attributes) {
          return attributes.get_string("activation", "") == "relu" ? 1u : 0u;
        },
    .low_precision_weights = 0b010,
    .flops = flops,
    .cpu = {.forward = gemm_forward_cpu,
            .backward = gemm_backward_cpu,
            .prepare_forward = gemm_prepare_forward_cpu,
            .prepare_backward = gemm_prepare_backward_cpu,
            .forward_shards = gemm_forward_shards_cpu,
            .backward_shards = gemm_backward_shards_cpu,
            .prepare_forward_shards = gemm_prepare_forward_shards_cpu,
            .prepare_backward_shards = gemm_prepare_backward_shards_cpu},
};

}  // namespace phalanx
