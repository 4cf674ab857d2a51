// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "transpose/transpose.hpp"

namespace phalanx {
namespace {

/// to, walked in its own order over `sizes`, takes its elements from `from` at `strides`.
struct Walk {
  int rank = 0;
  std::array<std::int64_t, Shape::kMaxRank> sizes{}, strides{};
};

/// How to walk x in the order of y = transpose(x): for forward, over y's axes with x's strides.
Walk walk_of(const Shape& from, std::span<const std::int64_t> perm) {
  Walk walk{.rank = from.rank()};
  for (int a = 0; a < walk.rank; ++a) {
    const auto source = static_cast<int>(perm[static_cast<std::size_t>(a)]);
    walk.sizes[a] = from[source];
    walk.strides[a] = from.product(source + 1, from.rank());
  }
  return walk;
}

template <class T>
void gather(const Walk& walk, int axis, const T* from, T*& to) {
  const std::int64_t size = walk.sizes[axis], stride = walk.strides[axis];
  if (axis + 1 < walk.rank) {
    for (std::int64_t i = 0; i < size; ++i) gather(walk, axis + 1, from + i * stride, to);
    return;
  }
  for (std::int64_t i = 0; i < size; ++i) to[i] = from[i * stride];
  to += size;
}

void transpose(const ConstTensorView& from, const TensorView& to,
               std::span<const std::int64_t> perm) {
  if (from.numel() == 0) return;
  with_float_type(from.type.dtype, [&]<class T>() {
    T* out = to.as<T>();
    if (from.shape().rank() == 0)
      *out = *from.as<T>();
    else
      gather(walk_of(from.shape(), perm), 0, from.as<T>(), out);
  });
}

}  // namespace

void transpose_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  transpose(in[0], out[0], transpose_permutation(ctx.attributes, in[0].shape().rank()));
}

void transpose_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const Ints perm = transpose_permutation(ctx.attributes, in[2].shape().rank());
  Ints inverse(perm.size());
  for (std::size_t a = 0; a < perm.size(); ++a)
    inverse[static_cast<std::size_t>(perm[a])] = static_cast<std::int64_t>(a);
  transpose(in[2], out[0], inverse);
}

}  // namespace phalanx
