// SPDX-License-Identifier: Apache-2.0
#include "common/permute.hpp"
#include "transpose/transpose.hpp"

namespace phalanx {
namespace {

void transpose(const char* name, const OpContext& ctx, ConstTensorView from, TensorView to,
               const Ints& perm) {
  AxisPermutation permutation;
  for (const std::int64_t axis : perm) {
    const auto a = static_cast<int>(axis);
    permutation.add(from.shape()[a], from.shape().product(a + 1, from.shape().rank()));
  }
  permute_on_device(name, ctx, from.data, to.data, size_bytes(from.type.dtype), permutation);
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  transpose("transpose_forward", ctx, in[0], out[0],
            transpose_permutation(ctx.attributes, in[0].shape().rank()));
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView& dy = in[2];
  const Ints perm = transpose_permutation(ctx.attributes, dy.shape().rank());
  Ints inverse(perm.size());
  for (std::size_t a = 0; a < perm.size(); ++a)
    inverse[static_cast<std::size_t>(perm[a])] = static_cast<std::int64_t>(a);
  transpose("transpose_backward", ctx, dy, out[0], inverse);
}

}  // namespace

extern const DeviceKernels transpose_cuda;
const DeviceKernels transpose_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
