// SPDX-License-Identifier: Apache-2.0
#include "common/matmul_few_rows.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/lanes.hpp"

namespace phalanx {
namespace {

struct Sizes {
  std::int64_t m, n, k;
  float alpha;
};

constexpr std::int64_t kAhead = 128;   // elements of b to ask for: eight lines of every row
constexpr std::int64_t kMostRows = 8;  // and three rows of b: 24 sums and 4 factors in 32 registers

std::int64_t vectors_of(std::int64_t k) { return (k + kLanes - 1) / kLanes; }

/// Sixteen elements of every row of a, then the next sixteen of every row: read in order, by every block of rows of b.
void pack(const Sizes& s, std::int64_t vector, const float* a, float* packed) {
  for (std::int64_t i = 0; i < s.m; ++i) {
    F32x16 lanes;
    load_some(a + i * s.k + vector * kLanes, std::min(kLanes, s.k - vector * kLanes), 1, lanes);
    store(lanes, packed + (vector * s.m + i) * kLanes);
  }
}

template <class Whole, class Half>
void add_halves(const Whole& whole, Half& sum) {
  Half halves[2];
  std::memcpy(halves, &whole, sizeof halves);
  sum = halves[0] + halves[1];
}

float sum_of(const F32x16& lanes) {
  using F32x8 [[gnu::vector_size(32)]] = float;
  using F32x4 [[gnu::vector_size(16)]] = float;
  F32x8 eight;
  F32x4 four;
  add_halves(lanes, eight);
  add_halves(eight, four);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

/// y of M rows of a and J rows of b.
template <int M, int J>
void products(const Sizes& s, const float* packed, const float* b, float* y) {
  F32x16 sums[M][J] = {};
  const auto add = [&](const F32x16(&of_b)[J]) {
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      F32x16 of_a;
      load(packed + i * kLanes, of_a);
#ifdef __AVX512F__
      asm("" : "+v"(of_a));  // g++ would read it from memory again for every row of b
#endif
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) sums[i][j] += of_a * of_b[j];
    }
    packed += M * kLanes;
  };
  F32x16 of_b[J];
  std::int64_t k = 0;
  for (; k + kLanes <= s.k; k += kLanes) {
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) {
      load(b + j * s.k + k, of_b[j]);
      __builtin_prefetch(b + j * s.k + k + kAhead);
    }
    add(of_b);
  }
  if (k < s.k) {
    for (int j = 0; j < J; ++j) load_some(b + j * s.k + k, s.k - k, 1, of_b[j]);
    add(of_b);
  }
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < J; ++j) y[i * s.n + j] = s.alpha * sum_of(sums[i][j]);
}

template <int M>
void rows(const Sizes& s, std::int64_t begin, std::int64_t end, const float* packed, const float* b,
          float* y) {
  constexpr int J = M <= 6 ? 4 : 3;
  std::int64_t j = begin;
  for (; j + J <= end; j += J) products<M, J>(s, packed, b + j * s.k, y + j);
  for (; j < end; ++j) products<M, 1>(s, packed, b + j * s.k, y + j);
}

template <std::size_t... I>
void rows_of(const Sizes& s, std::int64_t begin, std::int64_t end, const float* packed,
             const float* b, float* y, std::index_sequence<I...>) {
  ((s.m == I + 1 ? rows<I + 1>(s, begin, end, packed, b, y) : void()), ...);
}

}  // namespace

bool MatmulFewRows::suits(std::int64_t m, std::int64_t n, std::int64_t k, DType dtype) noexcept {
#ifdef __AVX512F__
  constexpr bool kHasRegisters = true;
#else
  constexpr bool kHasRegisters = false;
#endif
  constexpr std::int64_t kLeastColumns = 64;  // below, adding up lanes costs more than it saves
  return kHasRegisters && dtype == DType::kF32 && m >= 1 && m <= kMostRows && n > 0 &&
         k >= kLeastColumns;
}

std::size_t MatmulFewRows::workspace_bytes() const noexcept {
  return static_cast<std::size_t>(vectors_of(k_) * kLanes * m_) * sizeof(float);
}

void MatmulFewRows::run(const float* a, const float* b, float* y, std::byte* workspace) const {
  const Sizes s{m_, n_, k_, alpha_};
  auto* packed = reinterpret_cast<float*>(workspace);
  constexpr std::int64_t kWorthThreads = 1 << 16;  // elements of b
#pragma omp parallel if (s.n * s.k >= kWorthThreads)
  {
#pragma omp for schedule(static)
    for (std::int64_t v = 0; v < vectors_of(s.k); ++v) pack(s, v, a, packed);
    constexpr std::int64_t kBlock = 12;  // rows of b: whole blocks of every size
#pragma omp for schedule(static)
    for (std::int64_t j = 0; j < s.n; j += kBlock)
      rows_of(s, j, std::min(j + kBlock, s.n), packed, b, y, std::make_index_sequence<kMostRows>());
  }
}

}  // namespace phalanx
