// SPDX-License-Identifier: Apache-2.0
#include "common/binary.hpp"

#include <fmt/format.h>

namespace phalanx {
namespace {

using Strides = std::array<std::int64_t, BroadcastWalk::kMaxAxes>;

/// Strides of an operand over the axes of y: [N, C/B, H, W, B] for images, its own axes otherwise.
Strides strides_over(const TensorType& y, const TensorType& operand) {
  const int rank = y.shape.rank(), missing = rank - operand.shape.rank();
  const std::int64_t block = operand.channel_block;
  if (block != 1 && block != y.channel_block)
    throw InvalidArgument(
        fmt::format("operands in different memory formats: {} and {}", y.str(), operand.str()));
  Strides plain{};
  std::int64_t stride = 1;
  for (int axis = rank; axis-- > missing;) {
    const std::int64_t size = operand.shape[axis - missing];
    plain[axis] = size == 1 ? 0 : stride;
    stride *= size;
  }
  if (rank != 4) return plain;
  const auto& s = operand.shape;
  if (block != 1) {
    const std::int64_t pixels = s[2] * s[3];
    return {s[0] == 1 ? 0 : s[1] * pixels, block == s[1] ? 0 : block * pixels,
            s[2] == 1 ? 0 : s[3] * block, s[3] == 1 ? 0 : block, 1};
  }
  return {plain[0], plain[1] * y.channel_block, plain[2], plain[3], plain[1]};
}

bool mergeable(const BroadcastWalk::Axis& outer, const BroadcastWalk::Axis& inner) {
  return outer.a == inner.a * inner.size && outer.b == inner.b * inner.size &&
         outer.t == inner.t * inner.size;
}

}  // namespace

std::vector<TensorType> infer_binary(std::string_view op, Types in) {
  if (in.size() != 2)
    throw InvalidArgument(fmt::format("{} takes two inputs, found {}", op, in.size()));
  for (const TensorType& t : in)
    if (!is_float(t.dtype))
      throw InvalidArgument(fmt::format("{} needs floating types, found {}", op, t.str()));
  const bool low = in[0].dtype == DType::kBf16 || in[1].dtype == DType::kBf16;
  try {
    return {{low ? DType::kBf16 : DType::kF32, broadcast(in[0].shape, in[1].shape)}};
  } catch (const InvalidArgument& e) {
    throw InvalidArgument(fmt::format("{}: {}", op, e.what()));
  }
}

std::uint64_t binary_flops(const Attributes&, Types in) {
  return static_cast<std::uint64_t>(broadcast(in[0].shape, in[1].shape).numel());
}

BroadcastWalk::BroadcastWalk(const TensorType& y, const TensorType& a, const TensorType& b,
                             const TensorType& t) {
  const int rank = y.shape.rank();
  std::array<std::int64_t, kMaxAxes> sizes{};
  std::copy_n(y.shape.sizes().begin(), rank, sizes.begin());
  int all = rank;
  if (rank == 4) {
    sizes = {y.shape[0], y.shape[1] / y.channel_block, y.shape[2], y.shape[3], y.channel_block};
    all = 5;
  }
  const Strides of_a = strides_over(y, a), of_b = strides_over(y, b), of_t = strides_over(y, t);
  for (int i = 0; i < all; ++i) {
    if (sizes[i] == 1) continue;
    const Axis axis{sizes[i], of_a[i], of_b[i], of_t[i]};
    if (count > 0 && mergeable(axes[count - 1], axis))
      axes[count - 1] = {axes[count - 1].size * axis.size, axis.a, axis.b, axis.t};
    else
      axes[count++] = axis;
  }
  if (count == 0) count = 1;  // one element
  t_is_dense = t.shape.numel() == y.shape.numel() && t.channel_block == y.channel_block;
}

std::unique_ptr<OpState> binary_prepare_forward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  return std::make_unique<BinaryForwardState>(BroadcastWalk(out[0], in[0], in[1], out[0]));
}

std::unique_ptr<OpState> binary_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  const TensorType &dy = in[3], &a = in_present[0] ? in[0] : dy, &b = in_present[1] ? in[1] : dy;
  auto state = std::make_unique<BinaryBackwardState>();
  if (out_present[0]) state->to_da = std::make_unique<BroadcastWalk>(dy, a, b, out[0]);
  if (out_present[1]) state->to_db = std::make_unique<BroadcastWalk>(dy, a, b, out[1]);
  for (std::size_t i = 0; i < 2; ++i)
    if (out_present[i] && out[i].dtype != DType::kF32)
      state->sum_bytes = std::max(state->sum_bytes,
                                  static_cast<std::size_t>(out[i].shape.numel()) * sizeof(float));
  return state;
}

}  // namespace phalanx
