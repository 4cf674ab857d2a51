// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "matmul/matmul.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types types, OpCases::Vectors in, OpCases::Vectors out) {
  const MatmulSizes s = matmul_sizes(types[0].shape, types[1].shape);
  for (std::int64_t batch = 0; batch < s.batches.numel(); ++batch) {
    const double* a =
        in[0].data() + MatmulSizes::matrix_index(s.batches, s.a_batches, batch) * s.m * s.k;
    const double* b =
        in[1].data() + MatmulSizes::matrix_index(s.batches, s.b_batches, batch) * s.k * s.n;
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < s.k; ++k) sum += a[i * s.k + k] * b[k * s.n + j];
        out[0][static_cast<std::size_t>((batch * s.m + i) * s.n + j)] = sum;
      }
  }
}

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }

}  // namespace

extern const OpCases matmul_cases;
const OpCases matmul_cases = {
    .op = &matmul_op,
    .reference = reference,
    .cases =
        {
            {.name = "matrices",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 19}), f32({19, 7})};
                 },
             .tolerance_f32 = 4e-6},
            {.name = "inner size",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({3, n}), f32({n, 5})};
                 },
             .tolerance_f32 = 1e-5},
            {.name = "512 by 512",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 512}), f32({512, 512})};
                 },
             .benchmark_n = 512,
             .tolerance_f32 = 1e-5,
             .sizes = {3}},
            {.name = "batches by one matrix",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 2, 3, 4}), f32({4, 5})};
                 },
             .tolerance_f32 = 4e-6},
            {.name = "batches by batches",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 3, 4}), f32({n, 4, 5})};
                 },
             .tolerance_f32 = 4e-6,
             .sizes = {0, 1, 31, 33}},
            {.name = "batches that stretch on both sides",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 1, 3, 4}), f32({2, 4, 5})};
                 },
             .tolerance_f32 = 4e-6,
             .sizes = {0, 1, 5, 31}},
            {.name = "matrix by vector",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({n, 6}), f32({6})};
                 },
             .tolerance_f32 = 4e-6},
            {.name = "vector by matrix",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{f32({6}), f32({6, n})};
                 },
             .tolerance_f32 = 4e-6},
        },
    .refusals =
        {
            {.name = "inner sizes differ",
             .inputs = {f32({2, 3}), f32({4, 5})},
             .message = "inner sizes"},
            {.name = "a scalar", .inputs = {f32({}), f32({4, 5})}, .message = "scalars"},
            {.name = "batches differ",
             .inputs = {f32({2, 3, 4}), f32({3, 4, 5})},
             .message = "broadcast"},
        },
    .low_precision = 0b11,
};

}  // namespace phalanx
