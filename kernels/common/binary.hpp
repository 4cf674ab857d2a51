// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>

#include "common/broadcast_walk.hpp"
#include "common/reduce.hpp"
#include "op/op.hpp"

namespace phalanx {

/// infer() of an elementwise operator of two inputs: shapes broadcast as in NumPy; equal floating types, or one side f32 (a
/// parameter) and the other bf16, which gives bf16.
/// Throws    InvalidArgument.
std::vector<TensorType> infer_binary(std::string_view op, Types in);

std::uint64_t binary_flops(const Attributes& attributes, Types in);

struct BinaryForwardState final : OpState {
  explicit BinaryForwardState(const BroadcastWalk& w) : walk(w) {}
  BroadcastWalk walk;
};

/// A gradient that is not f32 is summed in the workspace.
struct BinaryBackwardState final : OpState {
  std::unique_ptr<BroadcastWalk> to_da, to_db;
  std::size_t sum_bytes = 0;
  std::size_t workspace_bytes() const noexcept override { return sum_bytes; }
};

std::unique_ptr<OpState> binary_prepare_forward_cpu(const PrepareArguments&);
/// in: a, b, y, dy, of which dy alone must be present; out: da, db.
std::unique_ptr<OpState> binary_prepare_backward_cpu(const PrepareArguments&);

/// y may overwrite an operand of its own type.
inline constexpr AliasRule kBinaryAliases[] = {{0, 0, AliasKind::kMay}, {0, 1, AliasKind::kMay}};

// --- reading an operand along the inner axis, as float

template <class T>
struct DenseReader {
  const T* p;
  float operator[](std::int64_t i) const { return static_cast<float>(p[i]); }
};
struct ConstantReader {
  float value;
  float operator[](std::int64_t) const { return value; }
};
template <class T>
struct StridedReader {
  const T* p;
  std::int64_t stride;
  float operator[](std::int64_t i) const { return static_cast<float>(p[i * stride]); }
};

/// Calls f(reader of a, reader of b) with the plainest readers that fit the strides.
template <class A, class B, class F>
void with_readers(const A* a, std::int64_t stride_a, const B* b, std::int64_t stride_b, F f) {
  if (stride_a == 1 && stride_b == 1)
    f(DenseReader<A>{a}, DenseReader<B>{b});
  else if (stride_a == 1 && stride_b == 0)
    f(DenseReader<A>{a}, ConstantReader{static_cast<float>(*b)});
  else if (stride_a == 0 && stride_b == 1)
    f(ConstantReader{static_cast<float>(*a)}, DenseReader<B>{b});
  else
    f(StridedReader<A>{a, stride_a}, StridedReader<B>{b, stride_b});
}

/// Calls f.template operator()<A, B, Y>() for the types that infer_binary allows.
template <class F>
void with_binary_types(DType a, DType b, F f) {
  if (a == DType::kF32 && b == DType::kF32)
    f.template operator()<float, float, float>();
  else if (a == DType::kF32)
    f.template operator()<float, Bf16, Bf16>();
  else if (b == DType::kF32)
    f.template operator()<Bf16, float, Bf16>();
  else
    f.template operator()<Bf16, Bf16, Bf16>();
}

/// y = Op::value(a, b). y may be a or b.
template <class Op>
void binary_forward(OpContext& ctx, Inputs in, Outputs out) {
  if (out[0].numel() == 0) return;
  const BroadcastWalk& walk = static_cast<BinaryForwardState*>(ctx.state)->walk;
  const std::int64_t count = walk.inner().size, stride_a = walk.inner().a,
                     stride_b = walk.inner().b;
  with_binary_types(in[0].type.dtype, in[1].type.dtype, [&]<class A, class B, class Y>() {
    walk.for_each_row([&](std::int64_t y, std::int64_t a, std::int64_t b, std::int64_t) {
      Y* to = out[0].as<Y>() + y;
      with_readers(in[0].as<A>() + a, stride_a, in[1].as<B>() + b, stride_b,
                   [&](auto from_a, auto from_b) {
#pragma GCC ivdep
                     for (std::int64_t i = 0; i < count; ++i)
                       to[i] = Y(Op::value(from_a[i], from_b[i]));
                   });
    });
  });
}

/// The gradient of one operand whose shape is that of y: t = value(dy, a, b), or t += that.
template <class A, class B, class Y, class T, class F>
void binary_gradient_dense(const BroadcastWalk& walk, const A* a, const B* b, const Y* dy, T* t,
                           bool add, F value) {
  const std::int64_t count = walk.inner().size, stride_a = walk.inner().a,
                     stride_b = walk.inner().b;
  walk.for_each_row([&](std::int64_t at_y, std::int64_t at_a, std::int64_t at_b, std::int64_t) {
    const Y* g = dy + at_y;
    T* to = t + at_y;
    with_readers(a + at_a, stride_a, b + at_b, stride_b, [&](auto from_a, auto from_b) {
      if (add) {
#pragma GCC ivdep
        for (std::int64_t i = 0; i < count; ++i)
          to[i] =
              T(static_cast<float>(to[i]) + value(static_cast<float>(g[i]), from_a[i], from_b[i]));
      } else {
#pragma GCC ivdep
        for (std::int64_t i = 0; i < count; ++i)
          to[i] = T(value(static_cast<float>(g[i]), from_a[i], from_b[i]));
      }
    });
  });
}

/// The gradient of an operand that was stretched: t += value(dy, a, b), summed over the stretched axes in memory order.
template <class A, class B, class Y, class F>
void binary_gradient_sum(const BroadcastWalk& walk, const A* a, const B* b, const Y* dy, float* t,
                         F value) {
  const std::int64_t count = walk.inner().size, stride_a = walk.inner().a,
                     stride_b = walk.inner().b, stride_t = walk.inner().t;
  walk.for_each_row(
      [&](std::int64_t at_y, std::int64_t at_a, std::int64_t at_b, std::int64_t at_t) {
        const Y* g = dy + at_y;
        float* to = t + at_t;
        with_readers(a + at_a, stride_a, b + at_b, stride_b, [&](auto from_a, auto from_b) {
          const auto term = [&](std::int64_t i) {
            return value(static_cast<float>(g[i]), from_a[i], from_b[i]);
          };
          if (stride_t == 0) {
            *to += sum_of(count, term);
          } else if (stride_t == 1) {
#pragma GCC ivdep
            for (std::int64_t i = 0; i < count; ++i) to[i] += term(i);
          } else {
            for (std::int64_t i = 0; i < count; ++i) to[i * stride_t] += term(i);
          }
        });
      });
}

template <class A, class B, class Y, class F>
void binary_gradient(OpContext& ctx, const BroadcastWalk& walk, const A* a, const B* b, const Y* dy,
                     const TensorView& target, bool add, F value) {
  with_float_type(target.type.dtype, [&]<class T>() {
    T* t = target.as<T>();
    const std::int64_t count = target.numel();
    if (walk.t_is_dense) return binary_gradient_dense(walk, a, b, dy, t, add, value);
    if constexpr (std::is_same_v<T, float>) {
      if (!add) std::fill_n(t, count, 0.0f);
      binary_gradient_sum(walk, a, b, dy, t, value);
    } else {
      auto* sum = reinterpret_cast<float*>(ctx.workspace.data());
      std::fill_n(sum, count, 0.0f);
      binary_gradient_sum(walk, a, b, dy, sum, value);
      for (std::int64_t i = 0; i < count; ++i)
        t[i] = T(sum[i] + (add ? static_cast<float>(t[i]) : 0.0f));
    }
  });
}

/// da = sum of Op::da(dy, a, b) and db = sum of Op::db(dy, a, b) over the stretched axes. One of the two may be dy.
template <class Op>
void binary_backward(OpContext& ctx, Inputs in, Outputs out) {
  auto& state = *static_cast<BinaryBackwardState*>(ctx.state);
  const ConstTensorView& dy = in[3];
  if (dy.numel() == 0) {
    for (std::size_t i = 0; i < 2; ++i)
      if (out[i] && !ctx.adds_to(i))
        std::fill_n(out[i].as<std::byte>(), out[i].type.size_bytes(), std::byte{0});
    return;
  }
  // Operators whose gradients read neither operand get dy in their place.
  const ConstTensorView a = in[0] ? in[0] : dy, b = in[1] ? in[1] : dy;
  with_float_type(dy.type.dtype, [&]<class Y>() {
    with_binary_types(a.type.dtype, b.type.dtype, [&]<class A, class B, class>() {
      const auto write = [&](std::size_t i) {
        if (!out[i]) return;
        const auto value = [i](float g, float x, float z) {
          return i == 0 ? Op::da(g, x, z) : Op::db(g, x, z);
        };
        binary_gradient(ctx, i == 0 ? *state.to_da : *state.to_db, a.as<A>(), b.as<B>(), dy.as<Y>(),
                        out[i], ctx.adds_to(i), value);
      };
      const bool da_is_dy = out[0].data == dy.data;  // then it is written last
      write(da_is_dy ? 1 : 0);
      write(da_is_dy ? 0 : 1);
    });
  });
}

}  // namespace phalanx
