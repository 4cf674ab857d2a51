// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <span>

#include "common/matmul_onednn.hpp"

namespace phalanx {

/// y_s = x_s b for every shard s of a batch, by one oneDNN primitive per block of b: b is read from memory once, packed
/// block by block into the second-level cache. The bits of y_s depend neither on the other shards nor on
/// the number of threads: with several, oneDNN would cut the inner axis by their number, so it gets one.
class ProductOverShards {
 public:
  ProductOverShards() = default;
  /// x_s [m, k], b [k, n] (or [n, k] if it is transposed) and y_s [m, n], all row-major and of one type, none empty.
  ProductOverShards(std::int64_t m, std::int64_t k, std::int64_t n, bool b_transposed, DType dtype);

  std::size_t workspace_bytes() const noexcept { return packed_bytes_ + scratch_bytes_; }
  void run(std::span<const void* const> x, const void* b, std::span<void* const> y,
           std::byte* workspace);

 private:
  MatmulOnednn& primitive(bool last_k, bool last_n, bool accumulate) {
    return primitives_[(last_k ? 4u : 0u) + (last_n ? 2u : 0u) + (accumulate ? 1u : 0u)];
  }
  template <class T>
  void pack(const T* b, std::int64_t k0, std::int64_t rows, std::int64_t n0, std::int64_t columns,
            T* to) const;

  std::int64_t k_ = 0, n_ = 0;
  std::int64_t block_k_ = 1, block_n_ = 1;
  bool b_transposed_ = false;
  DType dtype_ = DType::kF32;
  std::array<MatmulOnednn, 8> primitives_;
  std::size_t packed_bytes_ = 0, scratch_bytes_ = 0;
};

/// w = sum over s of a_s^T b_s in the order of combine(), without ever storing the product of a shard. a_s [m, rows],
/// b_s [m, columns], f32 or bf16, w f32 [rows, columns], all row-major.
void sum_outer_products(std::span<const void* const> a, std::span<const void* const> b, DType dtype,
                        std::int64_t m, std::int64_t rows, std::int64_t columns, float* w);

}  // namespace phalanx
