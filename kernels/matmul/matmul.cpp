// SPDX-License-Identifier: Apache-2.0
#include "matmul/matmul.hpp"

#include <fmt/format.h>

namespace phalanx {

void matmul_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void matmul_backward_cpu(OpContext& ctx, Inputs in, Outputs out);
std::unique_ptr<OpState> matmul_prepare_forward_cpu(const PrepareArguments&);
std::unique_ptr<OpState> matmul_prepare_backward_cpu(const PrepareArguments&);

namespace {

Shape leading(const Shape& shape) {
  return shape.rank() <= 2 ? Shape{}
                           : Shape(shape.sizes().first(static_cast<std::size_t>(shape.rank() - 2)));
}

}  // namespace

std::int64_t MatmulSizes::matrix_index(const Shape& batches, const Shape& operand_batches,
                                       std::int64_t batch) {
  std::int64_t index = 0, stride = 1;
  for (int a = 1; a <= operand_batches.rank(); ++a) {
    const std::int64_t i =
        batch / batches.product(batches.rank() - a + 1, batches.rank()) % batches[-a];
    if (operand_batches[-a] != 1) index += i * stride;
    stride *= operand_batches[-a];
  }
  return index;
}

MatmulSizes matmul_sizes(const Shape& a, const Shape& b) {
  MatmulSizes s{};
  s.a_batches = leading(a);
  s.b_batches = leading(b);
  s.batches = broadcast(s.a_batches, s.b_batches);
  s.m = a.rank() >= 2 ? a[-2] : 1;
  s.k = a[-1];
  s.n = b.rank() >= 2 ? b[-1] : 1;
  return s;
}

namespace {

std::vector<TensorType> infer(const Attributes&, Types in) {
  require(in.size() == 2, "matmul takes two inputs");
  const TensorType &a = in[0], &b = in[1];
  if (a.shape.rank() == 0 || b.shape.rank() == 0)
    throw InvalidArgument(
        fmt::format("matmul: no scalars, found {} and {}", a.shape.str(), b.shape.str()));
  if (!is_float(a.dtype) || b.dtype != a.dtype)
    throw InvalidArgument(fmt::format(
        "matmul: a and b must have one floating type, found {} and {}", a.str(), b.str()));
  const std::int64_t k_of_b = b.shape.rank() >= 2 ? b.shape[-2] : b.shape[0];
  if (a.shape[-1] != k_of_b)
    throw InvalidArgument(
        fmt::format("matmul: the inner sizes of {} and {} differ", a.shape.str(), b.shape.str()));
  const MatmulSizes s = matmul_sizes(a.shape, b.shape);
  Ints sizes(s.batches.sizes().begin(), s.batches.sizes().end());
  if (a.shape.rank() >= 2) sizes.push_back(s.m);
  if (b.shape.rank() >= 2) sizes.push_back(s.n);
  return {{a.dtype, Shape(std::span<const std::int64_t>(sizes))}};
}

std::uint64_t flops(const Attributes&, Types in) {
  const MatmulSizes s = matmul_sizes(in[0].shape, in[1].shape);
  return 2 * static_cast<std::uint64_t>(s.batches.numel()) * static_cast<std::uint64_t>(s.m) *
         static_cast<std::uint64_t>(s.n) * static_cast<std::uint64_t>(s.k);
}

}  // namespace

const OpSpec matmul_op = {
    .name = "matmul",
    .onnx = "MatMul",
    .infer = infer,
    .differentiable = 0b11,
    .needs_inputs = 0b11,
    .low_precision_weights = 0b10,
    .flops = flops,
    .cpu = {.forward = matmul_forward_cpu,
            .backward = matmul_backward_cpu,
            .prepare_forward = matmul_prepare_forward_cpu,
            .prepare_backward = matmul_prepare_backward_cpu},
};

}  // namespace phalanx
