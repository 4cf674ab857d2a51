// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "concat/concat.hpp"

namespace phalanx {
namespace {

/// Calls f(bytes of one piece of part i, of its place in the whole, size) for every piece that is contiguous in both.
template <class F>
void for_pieces(std::int64_t axis_attribute, const TensorType& whole, std::int64_t& offset,
                const TensorType& part, F f) {
  const int axis = whole.shape.normalised_axis(axis_attribute);
  const auto element = static_cast<std::int64_t>(size_bytes(whole.dtype));
  const std::int64_t inner = whole.shape.product(axis + 1, whole.shape.rank()) * element;
  const std::int64_t outer = whole.shape.product(0, axis);
  const std::int64_t row = whole.shape[axis] * inner, piece = part.shape[axis] * inner;
  for (std::int64_t o = 0; o < outer; ++o)
    f(o * piece, o * row + offset, static_cast<std::size_t>(piece));
  offset += piece;
}

}  // namespace

void concat_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  std::int64_t offset = 0;
  for (const ConstTensorView& x : in) {
    if (x.numel() == 0) continue;
    for_pieces(ctx.attributes.get_int("axis", 0), out[0].type, offset, x.type,
               [&](std::int64_t from, std::int64_t to, std::size_t size) {
                 std::memcpy(out[0].as<std::byte>() + to, x.as<std::byte>() + from, size);
               });
  }
}

void concat_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  // in: x0 ... xk, y, dy. Places need the sizes of all inputs, whether their gradients are wanted or not.
  const ConstTensorView& dy = in.back();
  const std::int64_t axis = ctx.attributes.get_int("axis", 0);
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const TensorType& type = in[i].type;
    if (type.shape.numel() == 0) continue;
    for_pieces(axis, dy.type, offset, type,
               [&](std::int64_t from, std::int64_t to, std::size_t size) {
                 if (out[i])
                   std::memcpy(out[i].as<std::byte>() + from, dy.as<std::byte>() + to, size);
               });
  }
}

}  // namespace phalanx
