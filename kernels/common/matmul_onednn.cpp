// SPDX-License-Identifier: Apache-2.0
#include "common/matmul_onednn.hpp"

namespace phalanx {

MatmulOnednn::MatmulOnednn(const MatrixDesc& a, const MatrixDesc& b, const MatrixDesc& dst,
                           bool bias, float scale, bool accumulate, Stream& stream)
    : has_bias_(bias) {
  const bool convert = b.dtype != a.dtype;
  MatrixDesc typed_b = b;
  typed_b.dtype = a.dtype;
  auto b_desc = convert
                    ? dnnl::memory::desc(b.sizes, to_dnnl(a.dtype), dnnl::memory::format_tag::any)
                    : typed_b.desc();
  dnnl::primitive_attr attributes = dnnl_attributes();
  if (scale != 1.0f) attributes.set_output_scales(0, {scale});
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  dnnl::memory::dims bias_sizes(dst.sizes.size(), 1);
  bias_sizes.back() = dst.sizes.back();
  const dnnl::memory::desc bias_desc(bias_sizes, dnnl::memory::data_type::f32,
                                     dnnl::memory::dims(bias_sizes.size(), 1));
  const dnnl::matmul::desc desc = bias ? dnnl::matmul::desc(a.desc(), b_desc, bias_desc, dst.desc())
                                       : dnnl::matmul::desc(a.desc(), b_desc, dst.desc());
  const dnnl::matmul::primitive_desc pd(desc, attributes, cpu_engine());
  product_ = DnnlCall(dnnl::matmul(pd));
  product_.add(DNNL_ARG_SRC, a.desc());
  product_.add(DNNL_ARG_WEIGHTS, pd.weights_desc());
  product_.add(DNNL_ARG_DST, dst.desc());
  product_.add(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
  if (bias) product_.add(DNNL_ARG_BIAS, bias_desc);
  workspace_bytes_ = pd.scratchpad_desc().get_size();
  if (convert) {
    const dnnl::reorder::primitive_desc reorder(cpu_engine(), b.desc(), cpu_engine(),
                                                pd.weights_desc());
    convert_ = DnnlCall(dnnl::reorder(reorder));
    convert_.add(DNNL_ARG_FROM, b.desc());
    convert_.add(DNNL_ARG_TO, pd.weights_desc());
    converted_ = Buffer(pd.weights_desc().get_size(), stream);
  }
}

void MatmulOnednn::run(const void* a, const void* b, const void* bias, void* dst, void* workspace,
                       std::uint64_t version) {
  if (convert_) {
    if (!has_converted_ || converted_version_ != version) convert_.run({b, converted_.data()});
    has_converted_ = true;
    converted_version_ = version;
    b = converted_.data();
  }
  if (has_bias_)
    product_.run({a, b, dst, workspace, bias});
  else
    product_.run({a, b, dst, workspace});
}

}  // namespace phalanx
