// SPDX-License-Identifier: Apache-2.0
#include "common/pack.hpp"
#include "common/permute.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 256;

/// Images [N, C/a, P, a] that become [N, C/b, P, b], P = H * W, where neither block divides the other.
struct Reblocking {
  Divisor pixels, groups_to, block_from, block_to;
  std::int64_t groups_from, count;
};

/// Who       one element a thread
/// Memory    registers; writes are contiguous, reads in runs of what the blocks have in common
/// Barriers  none
/// Bound     by bytes, as far as the cache holds a block of channels of some pixels
/// Sizes     any
template <class T>
__global__ void __launch_bounds__(kThreads)
    reorder_blocks_kernel(const T* __restrict__ from, T* __restrict__ to,
                          const __grid_constant__ Reblocking re) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= re.count) return;
  auto n = static_cast<std::uint64_t>(i);
  const std::uint32_t b = re.block_to.take(n);
  const std::uint64_t p = re.pixels.take(n);
  std::uint64_t group =
      re.groups_to.take(n) * re.block_to.size() + b;  // a channel until it is divided
  const std::uint32_t a = re.block_from.take(group);
  to[i] = from[((n * re.groups_from + group) * re.pixels.size() + p) * re.block_from.size() + a];
}

void reorder(const char* name, const OpContext& ctx, ConstTensorView from, TensorView to) {
  if (from.numel() == 0) return;
  const Shape& shape = from.shape();
  const std::int64_t c = shape[1], pixels = shape[2] * shape[3];
  const std::int64_t a = from.type.channel_block, b = to.type.channel_block;
  const std::size_t element_bytes = size_bytes(from.type.dtype);
  AxisPermutation permutation;
  permutation.add(shape[0], c * pixels);
  if (b % a == 0) {  // [N, C/b, b/a, P, a] becomes [N, C/b, P, b/a, a]
    permutation.add(c / b, b * pixels);
    permutation.add(pixels, a);
    permutation.add(b / a, a * pixels);
    permutation.add(a, 1);
    permute_on_device(name, ctx, from.data, to.data, element_bytes, permutation);
  } else if (a % b == 0) {  // [N, C/a, P, a/b, b] becomes [N, C/a, a/b, P, b]
    permutation.add(c / a, a * pixels);
    permutation.add(a / b, b);
    permutation.add(pixels, a);
    permutation.add(b, 1);
    permute_on_device(name, ctx, from.data, to.data, element_bytes, permutation);
  } else {
    with_cuda_type(from.type.dtype, [&]<class T>() {
      const Reblocking re{Divisor(pixels), Divisor(c / b), Divisor(a),
                          Divisor(b),      c / a,          from.numel()};
      launch(name, reorder_blocks_kernel<T>, blocks_for(re.count, kThreads), kThreads, 0,
             ctx.stream, from.as<T>(), to.as<T>(), re);
    });
  }
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  reorder("reorder_forward", ctx, in[0], out[0]);
}
void backward(OpContext& ctx, Inputs in, Outputs out) {
  reorder("reorder_backward", ctx, in[2], out[0]);
}

}  // namespace

extern const DeviceKernels reorder_cuda;
const DeviceKernels reorder_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
