// SPDX-License-Identifier: Apache-2.0
#include "unary_chain/unary_chain.hpp"

#include "common/activations.hpp"

namespace phalanx {
namespace {

using Kind = UnaryLink::Kind;

constexpr int kThreads = 256;
constexpr int kElements = 8;  // of a thread; all of them take a link before any takes the next

struct Link {
  Kind kind;
  float alpha;
};
struct Links {
  Link links[UnaryChain::kMostLinks];
  int count;
};

struct ApplyValue {
  float (&v)[kElements];
  template <class F>
  __device__ __forceinline__ void operator()(const F& f) const {
#pragma unroll
    for (int i = 0; i < kElements; ++i) v[i] = f.value(v[i]);
  }
};
/// The gradient goes along with the value, so that no value has to be kept: g = dy * f_1'(x) * f_2'(f_1(x)) * ...
struct ApplyGradient {
  float (&v)[kElements];
  float (&g)[kElements];
  template <class F>
  __device__ __forceinline__ void operator()(const F& f) const {
#pragma unroll
    for (int i = 0; i < kElements; ++i) {
      const float y = f.value(v[i]);
      g[i] = f.gradient(F::kReadsInput ? v[i] : y, g[i]);
      v[i] = y;
    }
  }
};

template <class Apply>
__device__ __forceinline__ void follow(const Links& chain, const Apply& apply) {
#pragma unroll 1
  for (int k = 0; k < chain.count; ++k) {
    const float alpha = chain.links[k].alpha;
    switch (chain.links[k].kind) {  // the same for all threads
      case Kind::kElu: apply(Elu{alpha}); break;
      case Kind::kGelu: apply(Gelu{}); break;
      case Kind::kGeluByTanh: apply(GeluByTanh{}); break;
      case Kind::kLeakyRelu: apply(LeakyRelu{alpha}); break;
      case Kind::kRelu: apply(Relu{}); break;
      case Kind::kSigmoid: apply(Sigmoid{}); break;
      case Kind::kSoftplus: apply(Softplus{}); break;
      case Kind::kTanh: apply(Tanh{}); break;
    }
  }
}

/// The elements of a thread: packs of 16 bytes, a block's width apart, of which the last one of a tensor may not be whole.
template <class T>
struct Elements {
  static constexpr int kPack = kPackElements<T>, kPacks = kElements / kPack;
  std::int64_t first, count;

  __device__ explicit Elements(std::int64_t n)
      : first(static_cast<std::int64_t>(blockIdx.x) * (kThreads * kPacks) + threadIdx.x),
        count(n) {}
  __device__ void read(const T* from, float (&to)[kElements]) const {
#pragma unroll
    for (int u = 0; u < kPacks; ++u) {
      const std::int64_t at = (first + u * kThreads) * kPack;
      float pack[kPack] = {};
      if (at + kPack <= count) {
        load(from + at, pack);
      } else {
#pragma unroll
        for (int i = 0; i < kPack; ++i)
          if (at + i < count) pack[i] = to_f32(from[at + i]);
      }
#pragma unroll
      for (int i = 0; i < kPack; ++i) to[u * kPack + i] = pack[i];
    }
  }
  __device__ void write(const float (&from)[kElements], T* to) const {
#pragma unroll
    for (int u = 0; u < kPacks; ++u) {
      const std::int64_t at = (first + u * kThreads) * kPack;
      float pack[kPack];
#pragma unroll
      for (int i = 0; i < kPack; ++i) pack[i] = from[u * kPack + i];
      if (at + kPack <= count) {
        store(pack, to + at);
      } else {
#pragma unroll
        for (int i = 0; i < kPack; ++i)
          if (at + i < count) to[at + i] = from_f32<T>(pack[i]);
      }
    }
  }
};

/// Who       each thread takes kElements elements through the whole chain
/// Memory    registers; each byte is read and written once
/// Barriers  none: y[i] depends on x[i] only, so that they may be the same
/// Bound     by bytes for a few links, by instructions beyond
/// Sizes     any; operands are aligned to 16 bytes
template <class T>
__global__ void __launch_bounds__(kThreads)
    unary_chain_forward_kernel(const T* x, T* y, std::int64_t count,
                               const __grid_constant__ Links chain) {
  const Elements<T> elements(count);
  float v[kElements];
  elements.read(x, v);
  follow(chain, ApplyValue{v});
  elements.write(v, y);
}

/// Who       each thread takes kElements elements through the whole chain
/// Memory    registers; each byte is read and written once
/// Barriers  none: dx[i] depends on x[i] and dy[i] only, so that it may be in the place of dy
/// Bound     by bytes for a few links, by instructions beyond
/// Sizes     any; operands are aligned to 16 bytes
template <class T>
__global__ void __launch_bounds__(kThreads)
    unary_chain_backward_kernel(const T* x, const T* dy, T* dx, std::int64_t count,
                                const __grid_constant__ Links chain) {
  const Elements<T> elements(count);
  float v[kElements], g[kElements];
  elements.read(x, v);
  elements.read(dy, g);
  follow(chain, ApplyGradient{v, g});
  elements.write(g, dx);
}

Links links_of(const OpContext& ctx) {
  const UnaryChain chain = unary_chain_of(ctx.attributes);
  Links links{{}, chain.count};
  for (int k = 0; k < chain.count; ++k)
    links.links[k] = {chain.links[k].kind, static_cast<float>(chain.links[k].alpha)};
  return links;
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  with_cuda_type(in[0].type.dtype, [&]<class T>() {
    launch("unary_chain_forward", unary_chain_forward_kernel<T>,
           blocks_for(in[0].numel(), kThreads * kElements), kThreads, 0, ctx.stream, in[0].as<T>(),
           out[0].as<T>(), in[0].numel(), links_of(ctx));
  });
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  const ConstTensorView &x = in[0], &dy = in[2];
  with_cuda_type(x.type.dtype, [&]<class T>() {
    launch("unary_chain_backward", unary_chain_backward_kernel<T>,
           blocks_for(x.numel(), kThreads * kElements), kThreads, 0, ctx.stream, x.as<T>(),
           dy.as<T>(), out[0].as<T>(), x.numel(), links_of(ctx));
  });
}

}  // namespace

extern const DeviceKernels unary_chain_cuda;
const DeviceKernels unary_chain_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
