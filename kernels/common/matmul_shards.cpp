// SPDX-License-Identifier: Apache-2.0
#include "common/matmul_shards.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace phalanx {
namespace {

// --- blocks of b

constexpr std::size_t kBlockBytes = std::size_t{256}
                                    << 10;  // a quarter of a common second-level cache
constexpr std::int64_t kBlockK = 1024;

constexpr int kSide = 16;

/// A square in registers.
template <class Word>
struct Square {
  using Row [[gnu::vector_size(kSide * sizeof(Word))]] = Word;
  Row rows[kSide];

  void transpose() {
    exchange<8>();
    exchange<4>();
    exchange<2>();
    exchange<1>();
  }

 private:
  /// Exchanges the off-diagonal halves of every block of 2 kHalf rows and columns.
  template <int kHalf>
  void exchange() {
    exchange_lanes<kHalf>(std::make_integer_sequence<int, kSide>());
  }
  // Of two rows the lanes are counted through; the second one's begin at kSide.
  template <int kHalf, int... kLane>
  void exchange_lanes(std::integer_sequence<int, kLane...>) {
#pragma GCC unroll 16
    for (int i = 0; i < kSide; ++i) {
      if ((i & kHalf) != 0) continue;
      const Row a = rows[i], b = rows[i + kHalf];
      rows[i] =
          __builtin_shufflevector(a, b, ((kLane & kHalf) != 0 ? kSide + kLane - kHalf : kLane)...);
      rows[i + kHalf] =
          __builtin_shufflevector(a, b, ((kLane & kHalf) != 0 ? kSide + kLane : kLane + kHalf)...);
    }
  }
};

/// to[j, i] = from[i, j] for a square of kSide, strides in elements.
template <class Word>
void transpose_square(const Word* from, std::int64_t stride, Word* to, std::int64_t to_stride) {
  Square<Word> square;
  for (int i = 0; i < kSide; ++i)
    std::memcpy(&square.rows[i], from + i * stride, sizeof square.rows[i]);
  square.transpose();
  for (int i = 0; i < kSide; ++i)
    std::memcpy(to + i * to_stride, &square.rows[i], sizeof square.rows[i]);
}

// --- outer products

constexpr std::int64_t kLanes = 16;
using Vector [[gnu::vector_size(kLanes * sizeof(float))]] = float;
constexpr std::int64_t kTileRows = 4, kTileVectors = 4;
constexpr std::int64_t kTileColumns = kTileVectors * kLanes;
constexpr std::int64_t kPanelColumns =
    512;  // of b_s that stay in the cache while the rows of w go by

template <class T>
Vector load(const T* from) {
  Vector v;
  for (std::int64_t i = 0; i < kLanes; ++i) v[i] = static_cast<float>(from[i]);
  return v;
}

/// A tile of w in registers: rows [0, kRows), kVectors vectors of columns.
template <std::int64_t kRows, std::int64_t kVectors>
struct Tile {
  Vector v[kRows][kVectors];

  void operator+=(const Tile& other) {
    for (std::int64_t i = 0; i < kRows; ++i)
      for (std::int64_t j = 0; j < kVectors; ++j) v[i][j] += other.v[i][j];
  }
};

/// The product of one shard, its rows in order.
template <std::int64_t kRows, std::int64_t kVectors, class T>
Tile<kRows, kVectors> product(const T* a, std::int64_t a_stride, const T* b, std::int64_t b_stride,
                              std::int64_t m) {
  Tile<kRows, kVectors> t{};
  for (std::int64_t k = 0; k < m; ++k) {
    Vector row[kVectors];
    for (std::int64_t j = 0; j < kVectors; ++j) row[j] = load(b + k * b_stride + j * kLanes);
    for (std::int64_t i = 0; i < kRows; ++i) {
      const auto factor = static_cast<float>(a[k * a_stride + i]);
      for (std::int64_t j = 0; j < kVectors; ++j) t.v[i][j] += factor * row[j];
    }
  }
  return t;
}

/// Adds up what comes one by one in the order of combine(): as in a binary counter, equal halves are joined at once.
template <class Part>
class TreeSum {
 public:
  void add(Part part) {
    for (std::size_t bit = ++count_; bit % 2 == 0; bit /= 2) part = joined(halves_[--depth_], part);
    halves_[depth_++] = part;
  }
  Part total() {
    while (depth_ > 1) {
      --depth_;
      halves_[depth_ - 1] += halves_[depth_];
    }
    return halves_[0];
  }

 private:
  static Part joined(Part left, const Part& right) {
    left += right;
    return left;
  }
  std::array<Part, 16> halves_;
  std::size_t depth_ = 0, count_ = 0;
};

template <class T>
struct OuterProducts {
  std::span<const void*const> a, b;
  std::int64_t m, rows, columns;
  float* w;

  template <std::int64_t kRows, std::int64_t kVectors>
  void tile(std::int64_t i, std::int64_t j) const {
    TreeSum<Tile<kRows, kVectors>> sum;
    for (std::size_t s = 0; s < a.size(); ++s)
      sum.add(product<kRows, kVectors>(static_cast<const T*>(a[s]) + i, rows,
                                       static_cast<const T*>(b[s]) + j, columns, m));
    const Tile<kRows, kVectors> total = sum.total();
    for (std::int64_t r = 0; r < kRows; ++r)
      std::memcpy(w + (i + r) * columns + j, total.v[r], sizeof total.v[r]);
  }

  void element(std::int64_t i, std::int64_t j) const {
    TreeSum<float> sum;
    for (std::size_t s = 0; s < a.size(); ++s) {
      const T *column_a = static_cast<const T*>(a[s]) + i,
              *column_b = static_cast<const T*>(b[s]) + j;
      float dot = 0;
      for (std::int64_t k = 0; k < m; ++k)
        dot += static_cast<float>(column_a[k * rows]) * static_cast<float>(column_b[k * columns]);
      sum.add(dot);
    }
    w[i * columns + j] = sum.total();
  }

  /// Rows [i, i + kRows), columns [begin, end).
  template <std::int64_t kRows>
  void strip(std::int64_t i, std::int64_t begin, std::int64_t end) const {
    std::int64_t j = begin;
    for (; j + kTileColumns <= end; j += kTileColumns) tile<kRows, kTileVectors>(i, j);
    for (; j + kLanes <= end; j += kLanes) tile<kRows, 1>(i, j);
    for (; j < end; ++j)
      for (std::int64_t r = 0; r < kRows; ++r) element(i + r, j);
  }

  void run() const {
    for (std::int64_t begin = 0; begin < columns; begin += kPanelColumns) {
      const std::int64_t end = std::min(begin + kPanelColumns, columns);
#pragma omp parallel for
      for (std::int64_t i = 0; i < rows / kTileRows * kTileRows; i += kTileRows)
        strip<kTileRows>(i, begin, end);
      for (std::int64_t i = rows / kTileRows * kTileRows; i < rows; ++i) strip<1>(i, begin, end);
    }
  }
};

}  // namespace

ProductOverShards::ProductOverShards(std::int64_t m, std::int64_t k, std::int64_t n,
                                     bool b_transposed, DType dtype)
    : k_(k), n_(n), b_transposed_(b_transposed), dtype_(dtype) {
  const OneThread one_thread;
  // A product in pieces adds to y, which has the bits for that in f32 only.
  block_k_ = dtype == DType::kF32 ? std::min(k, kBlockK) : k;
  const auto fitting = static_cast<std::int64_t>(kBlockBytes / size_bytes(dtype)) / block_k_;
  block_n_ = std::min(n, std::max<std::int64_t>(fitting / 16 * 16, 32));
  const std::int64_t rest_k = k % block_k_, rest_n = n % block_n_;
  for (bool last_k : {false, true})
    for (bool last_n : {false, true})
      for (bool accumulate : {false, true}) {
        const std::int64_t rows = last_k ? rest_k : block_k_, columns = last_n ? rest_n : block_n_;
        if (rows == 0 || columns == 0) continue;
        MatmulOnednn& p = primitive(last_k, last_n, accumulate);
        p = MatmulOnednn({{m, rows}, {k, 1}, dtype}, {{rows, columns}, {columns, 1}, dtype},
                         {{m, columns}, {n, 1}, dtype}, false, 1.0f, accumulate);
        scratch_bytes_ = std::max(scratch_bytes_, p.workspace_bytes());
      }
  packed_bytes_ = align_up(static_cast<std::size_t>(block_k_ * block_n_) * size_bytes(dtype));
}

template <class T>
void ProductOverShards::pack(const T* b, std::int64_t k0, std::int64_t rows, std::int64_t n0,
                             std::int64_t columns, T* to) const {
  if (!b_transposed_) {
    for (std::int64_t i = 0; i < rows; ++i)
      std::copy_n(b + (k0 + i) * n_ + n0, columns, to + i * columns);
    return;
  }
  using Word = std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint32_t>;
  constexpr std::int64_t kTile = kSide;
  for (std::int64_t j0 = 0; j0 < columns; j0 += kTile)
    for (std::int64_t i0 = 0; i0 < rows; i0 += kTile) {
      const T* from = b + (n0 + j0) * k_ + k0 + i0;
      T* square = to + i0 * columns + j0;
      if (j0 + kTile <= columns && i0 + kTile <= rows) {
        transpose_square(reinterpret_cast<const Word*>(from), k_, reinterpret_cast<Word*>(square),
                         columns);
        continue;
      }
      for (std::int64_t j = 0; j < std::min(kTile, columns - j0); ++j)
        for (std::int64_t i = 0; i < std::min(kTile, rows - i0); ++i)
          square[i * columns + j] = from[j * k_ + i];
    }
}

void ProductOverShards::run(std::span<const void* const> x, const void* b, std::span<void* const> y,
                            std::byte* workspace) {
  const OneThread one_thread;
  with_float_type(dtype_, [&]<class T>() {
    auto* packed = reinterpret_cast<T*>(workspace);
    for (std::int64_t n0 = 0; n0 < n_; n0 += block_n_)
      for (std::int64_t k0 = 0; k0 < k_; k0 += block_k_) {
        const std::int64_t rows = std::min(block_k_, k_ - k0),
                           columns = std::min(block_n_, n_ - n0);
        pack(static_cast<const T*>(b), k0, rows, n0, columns, packed);
        MatmulOnednn& p = primitive(rows < block_k_, columns<block_n_, k0> 0);
        for (std::size_t s = 0; s < x.size(); ++s)
          p.run(static_cast<const T*>(x[s]) + k0, packed, nullptr, static_cast<T*>(y[s]) + n0,
                workspace + packed_bytes_);
      }
  });
}

void sum_outer_products(std::span<const void* const> a, std::span<const void* const> b, DType dtype,
                        std::int64_t m, std::int64_t rows, std::int64_t columns, float* w) {
  with_float_type(dtype, [&]<class T>() { OuterProducts<T>{a, b, m, rows, columns, w}.run(); });
}

}  // namespace phalanx
