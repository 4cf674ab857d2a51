// SPDX-License-Identifier: Apache-2.0
#include "common/matmul_onednn.hpp"

namespace phalanx {

MatmulOnednn::MatmulOnednn(const MatrixDesc& a, const MatrixDesc& b, const MatrixDesc& dst,
                           bool bias, float scale, bool accumulate)
    : has_bias_(bias) {
  const Product whole{a, b, dst, bias, scale, accumulate};
  if (a.strides.back() != 1 && a.sizes.back() > kPiece)
    add_pieces(whole);
  else
    product_ = call(whole);
}

DnnlCall MatmulOnednn::call(const Product& p) {
  dnnl::primitive_attr attributes = dnnl_attributes();
  if (p.scale != 1.0f) attributes.set_output_scales(0, {p.scale});
  if (p.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  dnnl::memory::dims bias_sizes(p.dst.sizes.size(), 1);
  bias_sizes.back() = p.dst.sizes.back();
  const dnnl::memory::desc bias_desc(bias_sizes, dnnl::memory::data_type::f32,
                                     dnnl::memory::dims(bias_sizes.size(), 1));
  const dnnl::matmul::desc desc =
      p.bias ? dnnl::matmul::desc(p.a.desc(), p.b.desc(), bias_desc, p.dst.desc())
             : dnnl::matmul::desc(p.a.desc(), p.b.desc(), p.dst.desc());
  const dnnl::matmul::primitive_desc pd(desc, attributes, cpu_engine());
  DnnlCall product{dnnl::matmul(pd)};
  product.add(DNNL_ARG_SRC, p.a.desc());
  product.add(DNNL_ARG_WEIGHTS, p.b.desc());
  product.add(DNNL_ARG_DST, p.dst.desc());
  product.add(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
  if (p.bias) product.add(DNNL_ARG_BIAS, bias_desc);
  workspace_bytes_ = std::max(workspace_bytes_, pd.scratchpad_desc().get_size());
  return product;
}

void MatmulOnednn::add_pieces(const Product& whole) {
  const std::size_t row_of_b = whole.b.sizes.size() - 2;
  const auto piece = [&](std::int64_t k, bool first) {
    MatrixDesc a = whole.a, b = whole.b;
    a.sizes.back() = k;
    b.sizes[row_of_b] = k;
    return call({a, b, whole.dst, whole.bias && first, whole.scale, whole.accumulate || !first});
  };
  const std::int64_t k = whole.a.sizes.back();
  product_ = piece(kPiece, true);
  whole_pieces_ = k / kPiece - 1;
  if (whole_pieces_ > 0) next_piece_ = piece(kPiece, false);
  if (k % kPiece != 0) last_piece_ = piece(k % kPiece, false);
  a_piece_bytes_ =
      static_cast<std::size_t>(kPiece * whole.a.strides.back()) * size_bytes(whole.a.dtype);
  b_piece_bytes_ =
      static_cast<std::size_t>(kPiece * whole.b.strides[row_of_b]) * size_bytes(whole.b.dtype);
}

void MatmulOnednn::run(const void* a, const void* b, const void* bias, void* dst, void* workspace) {
  if (has_bias_)
    product_.run({a, b, dst, workspace, bias});
  else
    product_.run({a, b, dst, workspace});
  const auto* next_a = static_cast<const std::byte*>(a);
  const auto* next_b = static_cast<const std::byte*>(b);
  for (std::int64_t i = 0; i < whole_pieces_; ++i)
    next_piece_.run({next_a += a_piece_bytes_, next_b += b_piece_bytes_, dst, workspace});
  if (last_piece_)
    last_piece_.run({next_a + a_piece_bytes_, next_b + b_piece_bytes_, dst, workspace});
}

}  // namespace phalanx
