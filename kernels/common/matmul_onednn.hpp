// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/onednn.hpp"

namespace phalanx {

/// A matrix (or a batch of them) as oneDNN sees it: sizes and strides in elements, innermost last.
struct MatrixDesc {
  dnnl::memory::dims sizes;
  dnnl::memory::dims strides;
  DType dtype = DType::kF32;

  dnnl::memory::desc desc() const { return {sizes, to_dnnl(dtype), strides}; }
  bool empty() const noexcept {
    return std::any_of(sizes.begin(), sizes.end(), [](std::int64_t s) { return s == 0; });
  }
};

/// dst = scale * a b (+ bias over columns) (+ dst), by one oneDNN matmul primitive.
///
/// The bits of dst do not depend on the number of threads. oneDNN cuts a long inner axis by that number where `a` is
/// transposed, as in the gradient of a weight; there the axis is walked in pieces of kPiece, which it leaves whole.
class MatmulOnednn {
 public:
  MatmulOnednn() = default;
  MatmulOnednn(const MatrixDesc& a, const MatrixDesc& b, const MatrixDesc& dst, bool bias,
               float scale, bool accumulate);

  std::size_t workspace_bytes() const noexcept { return workspace_bytes_; }
  void run(const void* a, const void* b, const void* bias, void* dst, void* workspace);
  explicit operator bool() const noexcept { return static_cast<bool>(product_); }

 private:
  static constexpr std::int64_t kPiece = 1024;

  struct Product {
    const MatrixDesc &a, &b, &dst;
    bool bias;
    float scale;
    bool accumulate;
  };
  DnnlCall call(const Product& p);
  void add_pieces(const Product& whole);

  DnnlCall product_;  // of the first piece, if there are several
  DnnlCall next_piece_, last_piece_;
  std::int64_t whole_pieces_ = 0;  // behind the first
  std::size_t a_piece_bytes_ = 0, b_piece_bytes_ = 0;
  bool has_bias_ = false;
  std::size_t workspace_bytes_ = 0;
};

}  // namespace phalanx
