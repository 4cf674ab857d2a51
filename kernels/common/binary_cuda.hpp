// SPDX-License-Identifier: Apache-2.0
/// CUDA kernels of elementwise operators of two inputs, which broadcast. An operator gives
///   value(a, b)                   y
///   Da, Db                        gradients: Gradient<F, operands that F reads beside dy, 0 being a and 1 being b>
///   kForward, kBackward, kSum     names of launches
#pragma once

#include <memory>

#include "common/binary_sums.hpp"
#include "common/device_copy.hpp"

namespace phalanx {
namespace binary {

template <class Function, int... kOperands>
struct Gradient {
  using F = Function;
  static constexpr unsigned kReads = ((1u << kOperands) | ... | 0u);
  static constexpr bool kReadsB = kReads == 2u;  // and not a
  __device__ static float value(float dy, float a, float b) {
    return kReadsB ? F()(dy, b, 0.0f) : F()(dy, a, b);
  }
};

/// The gradient of a term of a sum.
struct Same {
  __device__ float operator()(float dy, float, float) const { return dy; }
};

/// Packs that a thread has under way at once.
template <int kPack>
inline constexpr int kForwardUnroll = kPack == 8 ? 2 : 4;
template <int kPack>
inline constexpr int kBackwardUnroll = kPack == 8 ? 1 : 2;

/// Elements of y one after the other, in packs.
struct DensePlan {
  Places places;
  std::int64_t inner_a, inner_b;
  bool in_packs;

  DensePlan(const BroadcastWalk& walk, int pack, unsigned reads)
      : inner_a(walk.inner().a),
        inner_b(walk.inner().b),
        in_packs(comes_in_packs(walk, pack, reads)) {
    const std::int64_t step = in_packs ? pack : 1;
    for (int i = 0; i + 1 < walk.count; ++i)
      places.add(walk.axes[i].size, {0, walk.axes[i].a, walk.axes[i].b, 0});
    places.add(walk.inner().size / step, {0, inner_a * step, inner_b * step, 0});
  }
};

/// Who       each thread takes some packs of y, a block's width apart
/// Memory    registers; y is written once, an operand read once, and where it is stretched mostly from the cache
/// Barriers  none: a thread reads all it needs before it writes, so that y may be an operand of its own size
/// Bound     by bytes
/// Sizes     any; packs as comes_in_packs says
template <class Op, class A, class B, class Y>
__global__ void __launch_bounds__(kThreads)
    binary_forward_kernel(In<A> a, In<B> b, Out<Y> y, const __grid_constant__ DensePlan plan) {
  constexpr int kPack = kPackOf<A, B>, kUnroll = kForwardUnroll<kPack>;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads * kUnroll) + threadIdx.x;
  float x[kUnroll][kPack], z[kUnroll][kPack];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (first + u * kThreads >= plan.places.number) continue;
    Offsets at;
    find(plan.places, first + u * kThreads, at);
    a.read(at.p, plan.inner_a, x[u]);
    b.read(at.q, plan.inner_b, z[u]);
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (first + u * kThreads >= plan.places.number) continue;
#pragma unroll
    for (int i = 0; i < kPack; ++i) x[u][i] = Op::value(x[u][i], z[u][i]);
    y.write((first + u * kThreads) * kPack, x[u], false);
  }
}

/// Gradients of the size of y; null data where one is not wanted.
template <class A, class B>
struct DenseGradients {
  Out<A> da;
  Out<B> db;
  bool adds_to_da, adds_to_db;
};

/// Who       each thread takes some packs of dy, a block's width apart
/// Memory    registers; each byte of dy and of the gradients is read or written once, a stretched operand mostly from the cache
/// Barriers  none: a thread reads all it needs before it writes, so that a gradient may be dy
/// Bound     by bytes
/// Sizes     any; packs as comes_in_packs says
template <class Op, class A, class B, class Y>
__global__ void __launch_bounds__(kThreads)
    binary_backward_kernel(In<A> a, In<B> b, In<Y> dy, DenseGradients<A, B> to,
                           const __grid_constant__ DensePlan plan) {
  constexpr int kPack = kPackOf<A, B>, kUnroll = kBackwardUnroll<kPack>;
  constexpr unsigned kReads = Op::Da::kReads | Op::Db::kReads;
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads * kUnroll) + threadIdx.x;
  float g[kUnroll][kPack], x[kUnroll][kPack] = {}, z[kUnroll][kPack] = {};
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t place = first + u * kThreads;
    if (place >= plan.places.number) continue;
    dy.read(place * kPack, 1, g[u]);
    if constexpr (kReads != 0) {
      Offsets at;
      find(plan.places, place, at);
      // Not read for the gradients that are wanted: null.
      if (a.data != nullptr) a.read(at.p, plan.inner_a, x[u]);
      if (b.data != nullptr) b.read(at.q, plan.inner_b, z[u]);
    }
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t place = first + u * kThreads;
    if (place >= plan.places.number) continue;
    float of_a[kPack], of_b[kPack];
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      of_a[i] = Op::Da::value(g[u][i], x[u][i], z[u][i]);
      of_b[i] = Op::Db::value(g[u][i], x[u][i], z[u][i]);
    }
    if (to.da.data != nullptr) to.da.write(place * kPack, of_a, to.adds_to_da);
    if (to.db.data != nullptr) to.db.write(place * kPack, of_b, to.adds_to_db);
  }
}

// --- from operands to kernels

/// Calls f.template operator()<A, B, Y>() for the types that infer_binary allows, or with Any.
template <class F>
void with_pack_types(bool in_packs, DType a, DType b, F f) {
  using Low = __nv_bfloat16;
  const bool a_is_f32 = a == DType::kF32, b_is_f32 = b == DType::kF32;
  if (!in_packs)
    f.template operator()<Any, Any, Any>();
  else if (a_is_f32 && b_is_f32)
    f.template operator()<float, float, float>();
  else if (a_is_f32)
    f.template operator()<float, Low, Low>();
  else if (b_is_f32)
    f.template operator()<Low, float, Low>();
  else
    f.template operator()<Low, Low, Low>();
}

struct ForwardState final : OpState {
  explicit ForwardState(const DensePlan& p) : plan(p) {}
  DensePlan plan;
};

/// Places in y of one gradient: of the size of y, or a sum.
struct BackwardState final : OpState {
  std::unique_ptr<DensePlan> dense;  // of all gradients that are
  std::unique_ptr<SumPlan> sum[2];
  bool sum_in_packs[2] = {};
  bool is_dense[2] = {};
  DType types[2] = {};  // of the operands
  std::size_t sum_bytes = 0;
  std::size_t workspace_bytes() const noexcept override { return sum_bytes; }
};

inline int pack_of(bool all_bf16) noexcept {
  return all_bf16 ? kPackOf<__nv_bfloat16> : kPackOf<float>;
}

inline std::unique_ptr<OpState> prepare_forward(const PrepareArguments& given) {
  const TensorType &a = given.in[0], &b = given.in[1], &y = given.out[0];
  if (y.shape.numel() == 0) return nullptr;
  const int pack = pack_of(a.dtype == DType::kBf16 && b.dtype == DType::kBf16);
  return std::make_unique<ForwardState>(DensePlan(BroadcastWalk(y, a, b, y), pack, 0b11));
}

template <class Op>
void forward(OpContext& ctx, Inputs in, Outputs out) {
  if (out[0].numel() == 0) return;
  const DensePlan& plan = static_cast<ForwardState*>(ctx.state)->plan;
  with_pack_types(plan.in_packs, in[0].type.dtype, in[1].type.dtype,
                  [&]<class A, class B, class Y>() {
                    constexpr int kUnroll = kForwardUnroll<kPackOf<A, B>>;
                    launch(Op::kForward, binary_forward_kernel<Op, A, B, Y>,
                           blocks_for(plan.places.number, kThreads * kUnroll), kThreads, 0,
                           ctx.stream, in_of<A>(in[0]), in_of<B>(in[1]), out_of<Y>(out[0]), plan);
                  });
}

/// Bit k: the gradient of operand i reads operand k.
template <class Op>
unsigned reads_of(std::size_t i) noexcept {
  return i == 0 ? Op::Da::kReads : Op::Db::kReads;
}

template <class Op>
std::unique_ptr<OpState> prepare_backward(const PrepareArguments& given) {
  const TensorType& dy = given.in[3];
  auto state = std::make_unique<BackwardState>();
  TensorType operands[2];  // those that are absent lie as dy does
  for (std::size_t i = 0; i < 2; ++i) {
    operands[i] = given.in_present[i] ? given.in[i] : dy;
    state->types[i] = given.in_present[i]    ? given.in[i].dtype
                      : given.out_present[i] ? given.out[i].dtype
                                             : dy.dtype;
  }
  if (dy.shape.numel() == 0) return state;
  for (std::size_t i = 0; i < 2; ++i) {
    if (!given.out_present[i]) continue;
    const BroadcastWalk walk(dy, operands[0], operands[1], given.out[i]);
    const unsigned reads = reads_of<Op>(i);
    if (walk.t_is_dense) {
      state->is_dense[i] = true;
      const bool low = state->types[0] == DType::kBf16 && state->types[1] == DType::kBf16;
      state->dense =
          std::make_unique<DensePlan>(walk, pack_of(low), Op::Da::kReads | Op::Db::kReads);
      continue;
    }
    bool low = dy.dtype == DType::kBf16;
    for (std::size_t k = 0; k < 2; ++k)
      low = low && ((reads >> k & 1u) == 0 || operands[k].dtype == DType::kBf16);
    const int pack = pack_of(low);
    state->sum_in_packs[i] = comes_in_packs(walk, pack, reads);
    state->sum[i] =
        std::make_unique<SumPlan>(plan_sum(walk, state->sum_in_packs[i] ? pack : 1, reads == 2u));
    state->sum_bytes = std::max(state->sum_bytes, state->sum[i]->workspace_bytes());
  }
  return state;
}

template <class Op, class G>
void sum_gradient(OpContext& ctx, const BackwardState& state, std::size_t i, Inputs in,
                  const TensorView& t) {
  const ConstTensorView &p = in[G::kReadsB ? 1 : 0], &q = in[1], &dy = in[3];
  const auto run = [&]<class Y, class P, class Q>() {
    using ReadP = std::conditional_t<G::kReads != 0u, P, Nothing>;
    using ReadQ = std::conditional_t<G::kReads == 3u, Q, Nothing>;
    launch_sum<typename G::F, Y, ReadP, ReadQ>({Op::kSum, Op::kJoin}, ctx, *state.sum[i], dy, p, q,
                                               t, ctx.adds_to(i));
  };
  if constexpr (G::kReads == 3u) {
    with_pack_types(state.sum_in_packs[i], p.type.dtype, q.type.dtype,
                    [&]<class P, class Q, class Y>() { run.template operator()<Y, P, Q>(); });
  } else if (!state.sum_in_packs[i]) {
    run.template operator()<Any, Any, Any>();
  } else {  // dy is f32 only if the operands are
    using Low = __nv_bfloat16;
    if (dy.type.dtype == DType::kF32)
      run.template operator()<float, float, float>();
    else if (G::kReads != 0u && p.type.dtype == DType::kF32)
      run.template operator()<Low, float, float>();
    else
      run.template operator()<Low, Low, Low>();
  }
}

template <class Op>
void dense_gradients(OpContext& ctx, const BackwardState& state, Inputs in, const TensorView& da,
                     const TensorView& db) {
  const DensePlan& plan = *state.dense;
  const unsigned reads = (da ? Op::Da::kReads : 0u) | (db ? Op::Db::kReads : 0u);
  const ConstTensorView a{(reads & 1u) != 0 ? in[0].data : nullptr, in[0].type},
      b{(reads & 2u) != 0 ? in[1].data : nullptr, in[1].type};
  with_pack_types(plan.in_packs, state.types[0], state.types[1], [&]<class A, class B, class Y>() {
    constexpr int kUnroll = kBackwardUnroll<kPackOf<A, B>>;
    const DenseGradients<A, B> to{out_of<A>(da), out_of<B>(db), ctx.adds_to(0), ctx.adds_to(1)};
    launch(Op::kBackward, binary_backward_kernel<Op, A, B, Y>,
           blocks_for(plan.places.number, kThreads * kUnroll), kThreads, 0, ctx.stream, in_of<A>(a),
           in_of<B>(b), in_of<Y>(in[3]), to, plan);
  });
}

template <class Op>
void backward(OpContext& ctx, Inputs in, Outputs out) {
  const auto& state = *static_cast<BackwardState*>(ctx.state);
  const ConstTensorView& dy = in[3];
  if (dy.numel() == 0) {
    for (std::size_t i = 0; i < 2; ++i)
      if (out[i] && !ctx.adds_to(i)) zero_on_device(ctx, out[i]);
    return;
  }
  // Sums first: a gradient of the size of dy may overwrite it.
  if (out[0] && !state.is_dense[0]) sum_gradient<Op, typename Op::Da>(ctx, state, 0, in, out[0]);
  if (out[1] && !state.is_dense[1]) sum_gradient<Op, typename Op::Db>(ctx, state, 1, in, out[1]);
  TensorView dense[2];
  bool is_dy[2] = {std::is_same_v<typename Op::Da::F, Same>,
                   std::is_same_v<typename Op::Db::F, Same>};
  for (std::size_t i = 0; i < 2; ++i) {
    if (!out[i] || !state.is_dense[i]) continue;
    is_dy[i] = is_dy[i] && !ctx.adds_to(i) && out[i].type.dtype == dy.type.dtype;
    if (is_dy[i])
      copy_on_device(ctx, dy.data, out[i].data, dy.type.size_bytes());
    else
      dense[i] = out[i];
  }
  if (dense[0] || dense[1]) dense_gradients<Op>(ctx, state, in, dense[0], dense[1]);
}

}  // namespace binary

template <class Op>
constexpr DeviceKernels binary_kernels() {
  return {.forward = binary::forward<Op>,
          .backward = binary::backward<Op>,
          .prepare_forward = binary::prepare_forward,
          .prepare_backward = binary::prepare_backward<Op>};
}

}  // namespace phalanx
