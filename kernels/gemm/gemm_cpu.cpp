// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/fused_relu.hpp"
#include "common/matmul_few_rows.hpp"
#include "common/matmul_onednn.hpp"
#include "common/matmul_shards.hpp"
#include "gemm/gemm.hpp"
#include "tensor/combine.hpp"

namespace phalanx {
namespace {

MatrixDesc matrix(std::int64_t rows, std::int64_t columns, bool transposed, DType dtype) {
  const std::int64_t r = std::max<std::int64_t>(rows, 1), c = std::max<std::int64_t>(columns, 1);
  return {{rows, columns}, transposed ? dnnl::memory::dims{1, r} : dnnl::memory::dims{c, 1}, dtype};
}

bool is_row(const Shape& c, std::int64_t n) {
  return c.numel() == n && c.rank() >= 1 && c[-1] == n;
}

struct ForwardState final : OpState {
  MatmulFewRows few_rows;  // or:
  MatmulOnednn product;
  bool bias_inside = false;
  /// The product is y transposed, in f32: then b' is a left operand, which oneDNN reads where it lies, while it copies a
  /// right operand whose rows are not contiguous. Four fifths of the time for a dense layer of 8192 inputs and batch 32.
  bool is_transposed = false;
  std::size_t product_bytes = 0;  // of y transposed, in front of oneDNN's scratch
  std::size_t workspace_bytes() const noexcept override {
    return few_rows ? few_rows.workspace_bytes() : product_bytes + product.workspace_bytes();
  }
};

/// Above this many rows of y, copying b is a small part of the product.
constexpr std::int64_t kMostTransposedRows = 256;

/// y[i, j] = from[j, i], converted.
template <class T>
void transpose(const float* from, T* y, std::int64_t m, std::int64_t n) {
  constexpr std::int64_t kTile = 16;
  for (std::int64_t i0 = 0; i0 < m; i0 += kTile)
    for (std::int64_t j0 = 0; j0 < n; j0 += kTile)
      for (std::int64_t i = i0; i < std::min(i0 + kTile, m); ++i)
        for (std::int64_t j = j0; j < std::min(j0 + kTile, n); ++j)
          y[i * n + j] = T(from[j * m + i]);
}

struct BackwardState final : OpState {
  MatmulOnednn da, db, db_add;
  std::size_t gradient_bytes = 0;  // of dy behind the activation, in front of oneDNN's scratch
  std::size_t workspace_bytes() const noexcept override {
    return gradient_bytes +
           std::max({da.workspace_bytes(), db.workspace_bytes(), db_add.workspace_bytes()});
  }
};

/// y = f(y + beta c).
template <class T>
void add_c(const GemmSizes& s, const ConstTensorView& c, T* y) {
  const GemmStrides at = gemm_strides_of_c(c.shape(), s.m, s.n);
  for (std::int64_t i = 0; i < s.m; ++i)
    for (std::int64_t j = 0; j < s.n; ++j) {
      const float x =
          static_cast<float>(y[i * s.n + j]) + s.beta * c.as<float>()[i * at.row + j * at.column];
      y[i * s.n + j] = T(s.relu ? relu(x) : x);
    }
}

/// What oneDNN left to do for y.
template <class T>
void finish(const GemmSizes& s, const ConstTensorView& c, T* y) {
  if (c)
    add_c(s, c, y);
  else if (s.relu)
    relu(y, s.m * s.n);
}

/// Rows are added in order, so equal inputs give equal bits. A row or everything in one sum: in double, for it cancels.
template <class T>
void sum_into_c(const GemmSizes& s, const T* dy, const TensorView& dc, bool add) {
  auto* to = dc.as<float>();
  if (!add) std::fill_n(to, dc.numel(), 0.0f);
  const GemmStrides at = gemm_strides_of_c(dc.shape(), s.m, s.n);
  double sum = 0;
  for (std::int64_t i = 0; i < s.m; ++i) {
    const T* row = dy + i * s.n;
    if (at.column == 1) {
      float* t = to + i * at.row;
      for (std::int64_t j = 0; j < s.n; ++j) t[j] += s.beta * static_cast<float>(row[j]);
      continue;
    }
    for (std::int64_t j = 0; j < s.n; ++j) sum += static_cast<double>(static_cast<float>(row[j]));
    if (at.row == 0 && i + 1 < s.m) continue;
    to[i * at.row] += static_cast<float>(static_cast<double>(s.beta) * sum);
    sum = 0;
  }
}

}  // namespace

std::unique_ptr<OpState> gemm_prepare_forward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  const GemmSizes s = gemm_sizes(attributes, in[0].shape, in[1].shape);
  auto state = std::make_unique<ForwardState>();
  if (s.m == 0 || s.n == 0 || s.k == 0) return state;
  if (!s.trans_a && s.trans_b && MatmulFewRows::suits(s.m, s.n, s.k, in[0].dtype)) {
    state->few_rows = MatmulFewRows(s.m, s.n, s.k, s.alpha);
    return state;
  }
  const bool has_c = in.size() == 3 && in_present[2];
  // oneDNN scales the bias along with the product, so it may only join in when both factors are 1.
  state->bias_inside = has_c && is_row(in[2].shape, s.n) && s.alpha == 1.0f && s.beta == 1.0f;
  state->is_transposed = !s.trans_a && s.trans_b && s.m <= kMostTransposedRows;
  if (state->is_transposed) {
    state->bias_inside = false;
    state->product =
        MatmulOnednn(matrix(s.n, s.k, false, in[1].dtype), matrix(s.k, s.m, true, in[0].dtype),
                     matrix(s.n, s.m, false, DType::kF32), false, s.alpha, false);
    state->product_bytes = align_up(static_cast<std::size_t>(s.n * s.m) * sizeof(float));
    return state;
  }
  state->product = MatmulOnednn(
      matrix(s.m, s.k, s.trans_a, in[0].dtype), matrix(s.k, s.n, s.trans_b, in[1].dtype),
      matrix(s.m, s.n, false, out[0].dtype), state->bias_inside, s.alpha, false);
  return state;
}

void gemm_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  auto& state = static_cast<ForwardState&>(*ctx.state);
  const GemmSizes s = gemm_sizes(ctx.attributes, in[0].shape(), in[1].shape());
  const ConstTensorView c = in.size() == 3 ? in[2] : ConstTensorView{};
  with_float_type(out[0].type.dtype, [&]<class T>() {
    if (state.few_rows) {
      state.few_rows.run(in[0].as<float>(), in[1].as<float>(), out[0].as<float>(),
                         ctx.workspace.data());
    } else if (state.product && state.is_transposed) {
      auto* product = reinterpret_cast<float*>(ctx.workspace.data());
      state.product.run(in[1].data, in[0].data, nullptr, product,
                        ctx.workspace.data() + state.product_bytes);
      transpose(product, out[0].as<T>(), s.m, s.n);
    } else if (state.product)
      state.product.run(in[0].data, in[1].data, c.data, out[0].data, ctx.workspace.data());
    else
      std::fill_n(out[0].as<T>(), out[0].numel(), T(0.0f));
    finish(s, state.bias_inside ? ConstTensorView{} : c, out[0].as<T>());
  });
}

std::unique_ptr<OpState> gemm_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  // in: a, b, c, y, dy (a dense layer without bias has no c); out: da, db, dc
  const GemmSizes s = gemm_sizes(attributes, in[0].shape, in[1].shape);
  const DType type = in.back().dtype;
  auto state = std::make_unique<BackwardState>();
  if (s.relu) state->gradient_bytes = align_up(in.back().size_bytes());
  if (s.m == 0 || s.n == 0 || s.k == 0) return state;
  const MatrixDesc dy = matrix(s.m, s.n, false, type), dy_t = matrix(s.n, s.m, true, type);
  const MatrixDesc b_t = matrix(s.n, s.k, !s.trans_b, in[1].dtype),
                   b = matrix(s.k, s.n, s.trans_b, in[1].dtype);
  if (out_present[0])
    state->da =
        s.trans_a
            ? MatmulOnednn(b, dy_t, matrix(s.k, s.m, false, out[0].dtype), false, s.alpha, false)
            : MatmulOnednn(dy, b_t, matrix(s.m, s.k, false, out[0].dtype), false, s.alpha, false);
  if (out_present[1]) {
    const MatrixDesc a = matrix(s.m, s.k, s.trans_a, in[0].dtype),
                     a_t = matrix(s.k, s.m, !s.trans_a, in[0].dtype);
    for (bool accumulate : {false, true}) {
      MatmulOnednn& db = accumulate ? state->db_add : state->db;
      db = s.trans_b ? MatmulOnednn(dy_t, a, matrix(s.n, s.k, false, out[1].dtype), false, s.alpha,
                                    accumulate)
                     : MatmulOnednn(a_t, dy, matrix(s.k, s.n, false, out[1].dtype), false, s.alpha,
                                    accumulate);
    }
  }
  return state;
}

void gemm_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  auto& state = static_cast<BackwardState&>(*ctx.state);
  const GemmSizes s = gemm_sizes(ctx.attributes, in[0].shape(), in[1].shape());
  ConstTensorView dy = in.back();
  void* workspace = ctx.workspace.data() + state.gradient_bytes;
  with_float_type(dy.type.dtype, [&]<class T>() {
    if (s.relu) {
      auto* gradient = reinterpret_cast<T*>(ctx.workspace.data());
      relu_gradient(in[in.size() - 2].as<T>(), dy.as<T>(), gradient, dy.numel());
      dy.data = gradient;
    }
    if (out[1]) {
      if (state.db && s.trans_b)
        (ctx.adds_to(1) ? state.db_add : state.db)
            .run(dy.data, in[0].data, nullptr, out[1].data, workspace);
      else if (state.db)
        (ctx.adds_to(1) ? state.db_add : state.db)
            .run(in[0].data, dy.data, nullptr, out[1].data, workspace);
      else if (!ctx.adds_to(1))
        std::fill_n(out[1].as<std::byte>(), out[1].type.size_bytes(), std::byte{0});
    }
    if (out.size() == 3 && out[2]) sum_into_c(s, dy.as<T>(), out[2], ctx.adds_to(2));
    if (out[0]) {
      if (state.da && s.trans_a)
        state.da.run(in[1].data, dy.data, nullptr, out[0].data, workspace);
      else if (state.da)
        state.da.run(dy.data, in[1].data, nullptr, out[0].data, workspace);
      else
        std::fill_n(out[0].as<std::byte>(), out[0].type.size_bytes(), std::byte{0});
    }
  });
}

// --- over shards

namespace {

struct ShardsState final : OpState {
  ProductOverShards product;  // of y, or of da
  std::vector<std::byte>
      gradients;  // of all shards, behind the activation; as many as the first run finds
  std::size_t workspace_bytes() const noexcept override { return product.workspace_bytes(); }
};

/// A dense layer: the weights are b, and nothing is scaled. Other uses go through the shards one by one.
bool is_dense_layer(const GemmSizes& s) {
  return !s.trans_a && s.alpha == 1.0f && s.beta == 1.0f && s.m > 0 && s.n > 0 && s.k > 0;
}

template <class Lists, class Get>
auto collect(const Lists& lists, Get get) {
  std::vector<decltype(get(lists[0]))> all;
  for (const auto& list : lists) all.push_back(get(list));
  return all;
}

}  // namespace

std::unique_ptr<OpState> gemm_prepare_forward_shards_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  const GemmSizes s = gemm_sizes(attributes, in[0].shape, in[1].shape);
  if (!is_dense_layer(s)) return nullptr;
  auto state = std::make_unique<ShardsState>();
  state->product = ProductOverShards(s.m, s.k, s.n, s.trans_b, out[0].dtype);
  return state;
}

void gemm_forward_shards_cpu(OpContext& ctx, std::span<const Inputs> in,
                             std::span<const Outputs> out) {
  const GemmSizes s = gemm_sizes(ctx.attributes, in[0][0].shape(), in[0][1].shape());
  static_cast<ShardsState&>(*ctx.state)
      .product.run(collect(in, [](Inputs v) { return v[0].data; }), in[0][1].data,
                   collect(out, [](Outputs v) { return v[0].data; }), ctx.workspace.data());
  const ConstTensorView c = in[0].size() == 3 ? in[0][2] : ConstTensorView{};
  for (const Outputs& o : out)
    with_float_type(o[0].type.dtype, [&]<class T>() { finish(s, c, o[0].as<T>()); });
}

std::unique_ptr<OpState> gemm_prepare_backward_shards_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  const GemmSizes s = gemm_sizes(attributes, in[0].shape, in[1].shape);
  const bool has_parameters = out_present[1] && out[1].dtype == DType::kF32;
  if (!is_dense_layer(s) || !has_parameters) return nullptr;
  auto state = std::make_unique<ShardsState>();
  if (out_present[0]) state->product = ProductOverShards(s.m, s.n, s.k, !s.trans_b, out[0].dtype);
  return state;
}

void gemm_backward_shards_cpu(OpContext& ctx, std::span<const Inputs> in,
                              std::span<const Outputs> out) {
  const GemmSizes s = gemm_sizes(ctx.attributes, in[0][0].shape(), in[0][1].shape());
  auto& state = static_cast<ShardsState&>(*ctx.state);
  const DType type = in[0].back().type.dtype;
  const auto a = collect(in, [](Inputs v) { return v[0].data; });
  auto dy = collect(in, [](Inputs v) { return v.back().data; });
  if (s.relu) {
    const std::size_t bytes = in[0].back().type.size_bytes();
    state.gradients.resize(bytes * in.size());
    for (std::size_t i = 0; i < in.size(); ++i)
      with_float_type(type, [&]<class T>() {
        auto* gradient = reinterpret_cast<T*>(state.gradients.data() + i * bytes);
        relu_gradient(in[i][in[i].size() - 2].as<T>(), in[i].back().as<T>(), gradient, s.m * s.n);
        dy[i] = gradient;
      });
  }
  auto* db = out[0][1].as<float>();
  if (s.trans_b)
    sum_outer_products(dy, a, type, s.m, s.n, s.k, db);
  else
    sum_outer_products(a, dy, type, s.m, s.k, s.n, db);
  if (const TensorView dc = out[0].size() == 3 ? out[0][2] : TensorView{}; dc) {
    // The gradient of a bias is small: every shard's own, then their sum.
    std::vector<float> own(in.size() * static_cast<std::size_t>(dc.numel()));
    std::vector<const void*> parts;
    for (std::size_t i = 0; i < in.size(); ++i) {
      float* part = own.data() + i * static_cast<std::size_t>(dc.numel());
      with_float_type(type, [&]<class T>() {
        sum_into_c(s, static_cast<const T*>(dy[i]), TensorView{part, dc.type}, false);
      });
      parts.push_back(part);
    }
    combine(ReduceOp::kSum, DType::kF32, parts, dc.data, dc.numel());
  }
  if (out[0][0])
    state.product.run(dy, in[0][1].data, collect(out, [](Outputs v) { return v[0].data; }),
                      ctx.workspace.data());
}

}  // namespace phalanx
