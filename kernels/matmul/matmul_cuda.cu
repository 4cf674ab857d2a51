// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_plan.hpp"
#include "matmul/matmul.hpp"

namespace phalanx {
namespace {

/// How y and both operands lie along one axis of batches, in matrices.
struct BatchAxis {
  std::int64_t count = 1, a = 0, b = 0, y = 0;
};

/// The axes of all batches, outermost first; a stride of 0 stretches.
template <class F>
void for_each_axis(const MatmulSizes& s, F f) {
  const auto stride = [](const Shape& own, int from_end) {
    return from_end > own.rank() || own[-from_end] == 1
               ? std::int64_t{0}
               : own.product(own.rank() - from_end + 1, own.rank());
  };
  for (int from_end = s.batches.rank(); from_end > 0; --from_end)
    f(BatchAxis{.count = s.batches[-from_end],
                .a = stride(s.a_batches, from_end),
                .b = stride(s.b_batches, from_end),
                .y = stride(s.batches, from_end)});
}

GemmProblem forward_problem(const MatmulSizes& s, DType type) {
  GemmProblem p{.m = s.m,
                .n = s.n,
                .k = s.k,
                .type = type,
                .out_type = type,
                .a_stride = s.k,
                .b_stride = s.n,
                .d_stride = s.n};
  for_each_axis(s, [&](const BatchAxis& axis) {
    p.batches.add({axis.count, axis.a * s.m * s.k, axis.b * s.k * s.n, axis.y * s.m * s.n});
  });
  return p;
}

/// da = dy b^T, summed over the axes along which a was stretched.
GemmProblem a_problem(const MatmulSizes& s, DType type, DType out_type) {
  GemmProblem p{.m = s.m,
                .n = s.k,
                .k = s.n,
                .type = type,
                .out_type = out_type,
                .b_along_k = true,
                .a_stride = s.n,
                .b_stride = s.n,
                .d_stride = s.k};
  for_each_axis(s, [&](const BatchAxis& axis) {
    const bool is_stretched = axis.a == 0 && axis.count != 1;
    (is_stretched ? p.sums : p.batches)
        .add({axis.count, axis.y * s.m * s.n, axis.b * s.k * s.n, axis.a * s.m * s.k});
  });
  return p;
}

/// db = a^T dy, summed over the axes along which b was stretched.
GemmProblem b_problem(const MatmulSizes& s, DType type, DType out_type) {
  GemmProblem p{.m = s.k,
                .n = s.n,
                .k = s.m,
                .type = type,
                .out_type = out_type,
                .a_along_k = false,
                .a_stride = s.k,
                .b_stride = s.n,
                .d_stride = s.n};
  for_each_axis(s, [&](const BatchAxis& axis) {
    const bool is_stretched = axis.b == 0 && axis.count != 1;
    (is_stretched ? p.sums : p.batches)
        .add({axis.count, axis.a * s.m * s.k, axis.y * s.m * s.n, axis.b * s.k * s.n});
  });
  return p;
}

struct ForwardState final : OpState {
  GemmPlan y;
  std::size_t workspace_bytes() const noexcept override { return y.workspace_bytes(); }
};

struct BackwardState final : OpState {
  GemmPlan da, db;
  std::size_t workspace_bytes() const noexcept override {
    return std::max(da.workspace_bytes(), db.workspace_bytes());
  }
};

std::unique_ptr<OpState> prepare_forward(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  auto state = std::make_unique<ForwardState>();
  const MatmulSizes s = matmul_sizes(in[0].shape, in[1].shape);
  state->y = GemmPlan(forward_problem(s, in[0].dtype), device);
  return state;
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  static_cast<ForwardState&>(*ctx.state)
      .y.run("matmul_forward", {.a = in[0].data, .b = in[1].data, .d = out[0].data},
             ctx.workspace.data(), ctx.stream);
}

std::unique_ptr<OpState> prepare_backward(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  // in: a, b, y, dy; out: da, db
  auto state = std::make_unique<BackwardState>();
  const MatmulSizes s = matmul_sizes(in[0].shape, in[1].shape);
  if (out_present[0]) state->da = GemmPlan(a_problem(s, in[3].dtype, out[0].dtype), device);
  if (out_present[1]) state->db = GemmPlan(b_problem(s, in[3].dtype, out[1].dtype), device);
  return state;
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  auto& state = static_cast<BackwardState&>(*ctx.state);
  const void *a = in[0].data, *b = in[1].data, *dy = in[3].data;
  if (state.da)
    state.da.run("matmul_backward_a", {.a = dy, .b = b, .d = out[0].data, .adds = ctx.adds_to(0)},
                 ctx.workspace.data(), ctx.stream);
  if (state.db)
    state.db.run("matmul_backward_b", {.a = a, .b = dy, .d = out[1].data, .adds = ctx.adds_to(1)},
                 ctx.workspace.data(), ctx.stream);
}

}  // namespace

extern const DeviceKernels matmul_cuda;
const DeviceKernels matmul_cuda = {.forward = forward,
                                   .backward = backward,
                                   .prepare_forward = prepare_forward,
                                   .prepare_backward = prepare_backward};

}  // namespace phalanx
