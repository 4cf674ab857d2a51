// SPDX-License-Identifier: Apache-2.0
/// Kernels as operators will have them, one source for the GPU and for the emulation.
#pragma once
#include "simt/simt.hpp"

namespace phalanx::simt_examples {

/// y = a x + y over n elements, 16 bytes at a time. x and y are aligned to 16 bytes.
void scaled_add(const float* x, float* y, float a, int n, cudaStream_t stream);

/// sums[row] = sum over columns of x[row, column], in a fixed order.
void row_sums(const float* x, float* sums, int rows, int columns, cudaStream_t stream);

/// c[m,n] = a[m,k] b[k,n], f32, row-major, any sizes.
void matmul_f32(const float* a, const float* b, float* c, int m, int n, int k, cudaStream_t stream);

/// c[m,n] = a[m,k] b[k,n], f32 sums of bf16 products, row-major; n and k multiples of 8, pointers aligned to 16 bytes.
void matmul_bf16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int m, int n, int k,
                 cudaStream_t stream);

}  // namespace phalanx::simt_examples
