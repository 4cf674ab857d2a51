// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/binary.hpp"
#include "common/matmul_onednn.hpp"
#include "matmul/matmul.hpp"

namespace phalanx {
namespace {

/// How the batches of both operands are handed to oneDNN, whose batch axes broadcast too.
class Batches {
 public:
  explicit Batches(const MatmulSizes& s) : sizes_(s) {
    const std::int64_t count = s.batches.numel();
    const bool a_whole = s.a_batches.numel() == count, b_whole = s.b_batches.numel() == count;
    if (a_whole && s.b_batches.numel() == 1)
      fold_ = Fold::kRows;
    else if (a_whole && b_whole)
      fold_ = Fold::kOneAxis;
  }

  /// Rows of a and y: all batches stand below each other where b is one matrix.
  std::int64_t rows() const noexcept {
    return fold_ == Fold::kRows ? sizes_.m * sizes_.batches.numel() : sizes_.m;
  }

  /// Row-major matrices [rows, columns], or what their transposes look like.
  MatrixDesc matrices(const Shape& operand, std::int64_t rows, std::int64_t columns,
                      bool transposed, DType type) const {
    MatrixDesc desc{axes(operand), {}, type};
    dnnl::memory::dims& sizes = desc.sizes;
    std::int64_t stride = rows * columns;
    desc.strides.resize(sizes.size());
    for (std::size_t i = sizes.size(); i-- > 0; stride *= sizes[i]) desc.strides[i] = stride;
    sizes.insert(sizes.end(), {transposed ? columns : rows, transposed ? rows : columns});
    desc.strides.insert(desc.strides.end(), {transposed ? 1 : columns, transposed ? columns : 1});
    return desc;
  }

 private:
  enum class Fold { kRows, kOneAxis, kNone };

  dnnl::memory::dims axes(const Shape& operand) const {
    if (fold_ == Fold::kRows) return {};
    if (fold_ == Fold::kOneAxis) return {sizes_.batches.numel()};
    dnnl::memory::dims axes(static_cast<std::size_t>(sizes_.batches.rank()), 1);
    std::ranges::copy_backward(operand.sizes(), axes.end());
    return axes;
  }

  const MatmulSizes& sizes_;
  Fold fold_ = Fold::kNone;
};

bool is_empty(const MatmulSizes& s) {
  return s.batches.numel() == 0 || s.m == 0 || s.n == 0 || s.k == 0;
}

void zero(const TensorView& view) {
  std::fill_n(view.as<std::byte>(), view.type.size_bytes(), std::byte{0});
}

Shape matrices_of(const Shape& batches, std::int64_t rows, std::int64_t columns) {
  Ints sizes(batches.sizes().begin(), batches.sizes().end());
  sizes.insert(sizes.end(), {rows, columns});
  return Shape(std::span<const std::int64_t>(sizes));
}

struct ForwardState final : OpState {
  MatmulOnednn product;
  std::size_t workspace_bytes() const noexcept override { return product.workspace_bytes(); }
};

/// The gradient of one operand. Where that was stretched, the product for every batch of y goes to the workspace, behind
/// what oneDNN needs, and is summed from there.
struct Gradient {
  MatmulOnednn set, add;
  std::unique_ptr<BroadcastWalk> sum;
  std::size_t scratch_bytes = 0, product_bytes = 0, sum_bytes = 0;

  std::size_t workspace_bytes() const noexcept { return scratch_bytes + product_bytes + sum_bytes; }

  void run(OpContext& ctx, const void* x, const void* z, const TensorView& to, bool adds) {
    std::byte* workspace = ctx.workspace.data();
    if (!sum) {
      (adds ? add : set).run(x, z, nullptr, to.data, workspace);
      return;
    }
    auto* product = reinterpret_cast<float*>(workspace + scratch_bytes);
    set.run(x, z, nullptr, product, workspace);
    OpContext rest = ctx;
    rest.workspace = ctx.workspace.subspan(scratch_bytes + product_bytes);
    binary_gradient(rest, *sum, product, product, product, to, adds,
                    [](float g, float, float) { return g; });
  }
};

struct BackwardState final : OpState {
  Gradient da, db;
  std::size_t workspace_bytes() const noexcept override {
    return std::max(da.workspace_bytes(), db.workspace_bytes());
  }
};

/// The gradient x z of an operand [batches of its own, rows, columns].
Gradient gradient_of(const MatmulSizes& s, const Batches& batches, const Shape& own,
                     std::int64_t rows, std::int64_t columns, const MatrixDesc& x,
                     const MatrixDesc& z, DType type) {
  Gradient g;
  const bool is_stretched = own.numel() != s.batches.numel() && x.sizes.size() > 2;
  const Shape& made = is_stretched ? s.batches : own;
  const MatrixDesc to =
      batches.matrices(made, rows, columns, false, is_stretched ? DType::kF32 : type);
  g.set = MatmulOnednn(x, z, to, false, 1.0f, false);
  g.scratch_bytes = g.set.workspace_bytes();
  if (!is_stretched) {
    g.add = MatmulOnednn(x, z, to, false, 1.0f, true);
    g.scratch_bytes = std::max(g.scratch_bytes, g.add.workspace_bytes());
    return g;
  }
  const TensorType product(DType::kF32, matrices_of(s.batches, rows, columns));
  const TensorType target(type, matrices_of(own, rows, columns));
  g.sum = std::make_unique<BroadcastWalk>(product, product, product, target);
  g.scratch_bytes = align_up(g.scratch_bytes);
  g.product_bytes = align_up(product.size_bytes());
  g.sum_bytes =
      type == DType::kF32 ? 0 : static_cast<std::size_t>(target.shape.numel()) * sizeof(float);
  return g;
}

}  // namespace

std::unique_ptr<OpState> matmul_prepare_forward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  const MatmulSizes s = matmul_sizes(in[0].shape, in[1].shape);
  auto state = std::make_unique<ForwardState>();
  if (is_empty(s)) return state;
  const Batches batches(s);
  state->product = MatmulOnednn(
      batches.matrices(s.a_batches, batches.rows(), s.k, false, in[0].dtype),
      batches.matrices(s.b_batches, s.k, s.n, false, in[1].dtype),
      batches.matrices(s.batches, batches.rows(), s.n, false, out[0].dtype), false, 1.0f, false);
  return state;
}

void matmul_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  auto& state = static_cast<ForwardState&>(*ctx.state);
  if (state.product)
    state.product.run(in[0].data, in[1].data, nullptr, out[0].data, ctx.workspace.data());
  else
    zero(out[0]);
}

std::unique_ptr<OpState> matmul_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  const MatmulSizes s = matmul_sizes(in[0].shape, in[1].shape);
  auto state = std::make_unique<BackwardState>();
  if (is_empty(s)) return state;
  const Batches batches(s);
  const std::int64_t m = batches.rows();
  const MatrixDesc dy = batches.matrices(s.batches, m, s.n, false, in[3].dtype);
  if (out_present[0])
    state->da =
        gradient_of(s, batches, s.a_batches, m, s.k, dy,
                    batches.matrices(s.b_batches, s.k, s.n, true, in[1].dtype), out[0].dtype);
  if (out_present[1])
    state->db =
        gradient_of(s, batches, s.b_batches, s.k, s.n,
                    batches.matrices(s.a_batches, m, s.k, true, in[0].dtype), dy, out[1].dtype);
  return state;
}

void matmul_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  auto& state = static_cast<BackwardState&>(*ctx.state);
  const void *a = in[0].data, *b = in[1].data, *dy = in[3].data;
  if (out[0] && state.da.set)
    state.da.run(ctx, dy, b, out[0], ctx.adds_to(0));
  else if (out[0] && !ctx.adds_to(0))
    zero(out[0]);
  if (out[1] && state.db.set)
    state.db.run(ctx, a, dy, out[1], ctx.adds_to(1));
  else if (out[1] && !ctx.adds_to(1))
    zero(out[1]);
}

}  // namespace phalanx
