// SPDX-License-Identifier: Apache-2.0
#include "reshape/reshape.hpp"

#include <fmt/format.h>

namespace phalanx {

void reshape_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void reshape_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  require(in.size() == 1, "reshape takes one input");
  const Shape& x = in[0].shape;
  const Ints wanted = attributes.get_ints("shape", {});
  const bool zero_is_size = attributes.get_int("allowzero", 0) != 0;
  const auto refuse = [&] {
    return InvalidArgument(
        fmt::format("reshape: {} does not fit the shape [{}]", x.str(), fmt::join(wanted, ", ")));
  };
  Ints sizes = wanted;
  std::int64_t known = 1;
  int open = -1;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0 && !zero_is_size) {
      if (static_cast<int>(i) >= x.rank()) throw refuse();
      sizes[i] = x[static_cast<int>(i)];
    }
    if (sizes[i] == -1) {
      if (open >= 0) throw refuse();
      open = static_cast<int>(i);
    } else {
      if (sizes[i] < 0 || __builtin_mul_overflow(known, sizes[i], &known)) throw refuse();
    }
  }
  if (open >= 0) {
    // An empty tensor does not determine the open size: it is 0, unless other sizes are what makes it empty.
    if (known == 0 ? x.numel() != 0 : x.numel() % known != 0) throw refuse();
    sizes[static_cast<std::size_t>(open)] = known == 0 ? 0 : x.numel() / known;
  }
  const Shape y{std::span<const std::int64_t>(sizes)};
  if (y.numel() != x.numel()) throw refuse();
  return {{in[0].dtype, y}};
}

constexpr AliasRule kAliases[] = {{0, 0, AliasKind::kView}};

}  // namespace

const OpSpec reshape_op = {
    .name = "reshape",
    .onnx = "Reshape",
    .infer = infer,
    .differentiable = 0b1,
    .aliases = kAliases,
    .cpu = {.forward = reshape_forward_cpu, .backward = reshape_backward_cpu},
};

}  // namespace phalanx
