// SPDX-License-Identifier: Apache-2.0
// The kernels behind gemm and matmul, for every way to cut a product: the harness of the operators meets only those that a
// problem of its size is given.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

#include "common/gemm_own.hpp"
#include "simt/arrays.hpp"

namespace phalanx {
namespace {

enum class Family { kF32, kTf32, kBf16 };

/// Elements of one operand, between guards that are NaN: what is read there shows up in d.
class Operand {
 public:
  Operand(DType type, std::int64_t elements, std::uint64_t seed) : type_(type) {
    const auto count = static_cast<std::size_t>(elements);
    values_ = some_floats(count, seed);
    const std::size_t size = size_bytes(type);
    memory_.resize(count * size + 2 * kGuard, std::byte{0xff});
    for (std::size_t i = 0; i < count; ++i) {
      if (type == DType::kBf16) {
        const Bf16 rounded(values_[i]);
        values_[i] = static_cast<float>(rounded);
        std::memcpy(data() + i * size, &rounded, size);
      } else {
        std::memcpy(data() + i * size, &values_[i], size);
      }
    }
  }

  std::byte* data() {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory_.data());
    return memory_.data() + kGuard - begin % 64;
  }
  double operator[](std::int64_t i) const { return values_[static_cast<std::size_t>(i)]; }
  double written(std::int64_t i) {
    const std::byte* at = data() + static_cast<std::size_t>(i) * size_bytes(type_);
    if (type_ == DType::kF32) {
      float value;
      std::memcpy(&value, at, sizeof value);
      return value;
    }
    Bf16 value;
    std::memcpy(&value, at, sizeof value);
    return static_cast<float>(value);
  }

 private:
  static constexpr std::size_t kGuard = 512;
  DType type_;
  std::vector<float> values_;
  std::vector<std::byte> memory_;
};

struct Case {
  Family family = Family::kF32;
  GemmTiling tiling;
  std::int64_t m = 1, n = 1, k = 1;
  bool a_along_k = true, b_along_k = false;
  std::int64_t pad = 0;  ///< elements behind each row of a, b and d
  std::int64_t batches = 1, sums = 1;
  bool b_is_one = false;  ///< of all batches
  bool out_is_bf16 = false, relu = false, adds = false;
  enum class C { kNone, kRow, kColumn, kFull, kScalar } c = C::kNone;
  float alpha = 1, beta = 1;
};

std::ostream& operator<<(std::ostream& os, const Case& c) {
  return os << "family " << static_cast<int>(c.family) << " tile "
            << static_cast<int>(c.tiling.tile) << " splits " << c.tiling.splits << " m " << c.m
            << " n " << c.n << " k " << c.k << (c.a_along_k ? " a:k" : " a:m")
            << (c.b_along_k ? " b:k" : " b:n") << " pad " << c.pad << " batches " << c.batches
            << " sums " << c.sums << " c " << static_cast<int>(c.c);
}

GemmProblem problem_of(const Case& c) {
  GemmProblem p;
  p.m = c.m, p.n = c.n, p.k = c.k;
  p.type = c.family == Family::kBf16 ? DType::kBf16 : DType::kF32;
  p.out_type = c.out_is_bf16 ? DType::kBf16 : DType::kF32;
  p.tf32 = c.family == Family::kTf32;
  p.a_along_k = c.a_along_k, p.b_along_k = c.b_along_k;
  p.a_stride = (c.a_along_k ? c.k : c.m) + c.pad;
  p.b_stride = (c.b_along_k ? c.k : c.n) + c.pad;
  p.d_stride = c.n + c.pad;
  const std::int64_t a = p.a_stride * (c.a_along_k ? c.m : c.k),
                     b = p.b_stride * (c.b_along_k ? c.n : c.k);
  if (c.batches > 1)
    p.batches.add({c.batches, a * c.sums, c.b_is_one ? 0 : b * c.sums, p.d_stride * c.m});
  if (c.sums > 1) p.sums.add({c.sums, a, b, 0});
  p.alpha = c.alpha, p.beta = c.beta, p.relu = c.relu;
  p.has_c = c.c != Case::C::kNone;
  if (c.c == Case::C::kColumn) p.c_row = 1;
  if (c.c == Case::C::kFull) p.c_row = c.n;
  if (c.c == Case::C::kRow || c.c == Case::C::kFull) p.c_column = 1;
  return p;
}

void check(const Case& c) {
  SCOPED_TRACE(testing::PrintToString(c));
  const GemmProblem p = problem_of(c);
  const std::int64_t a_matrix = p.a_stride * (p.a_along_k ? p.m : p.k),
                     b_matrix = p.b_stride * (p.b_along_k ? p.n : p.k), d_matrix = p.d_stride * p.m;
  Operand a(p.type, a_matrix * c.batches * c.sums, 1),
      b(p.type, b_matrix * (c.b_is_one ? 1 : c.batches) * c.sums, 2),
      d(p.out_type, d_matrix * c.batches, 3), bias(DType::kF32, p.m * p.n, 4);
  const GemmOwn product(p, c.tiling);
  std::vector<std::byte> workspace(product.workspace_bytes() + 256, std::byte{0xff});
  std::byte* scratch =
      workspace.data() + (256 - reinterpret_cast<std::uintptr_t>(workspace.data()) % 256) % 256;
  BackendStream stream;
  product.run("gemm_test",
              {a.data(), b.data(), reinterpret_cast<const float*>(bias.data()), d.data(), c.adds},
              scratch, stream);
  const double tolerance = c.out_is_bf16               ? 4e-3
                           : c.family == Family::kTf32 ? 2e-3
                                                       : 2e-6;  // of the largest sum
  int bad = 0;
  for (std::int64_t batch = 0; batch < c.batches; ++batch)
    for (std::int64_t i = 0; i < p.m; ++i)
      for (std::int64_t j = 0; j < p.d_stride; ++j) {
        const std::int64_t at = batch * d_matrix + i * p.d_stride + j;
        double expected = d[at];
        double magnitude = 1;
        if (j < p.n) {
          double sum = 0;
          for (std::int64_t s = 0; s < c.sums; ++s)
            for (std::int64_t k = 0; k < p.k; ++k)
              sum += a[(batch * c.sums + s) * a_matrix +
                       (p.a_along_k ? i * p.a_stride + k : k * p.a_stride + i)] *
                     b[((c.b_is_one ? 0 : batch * c.sums) + s) * b_matrix +
                       (p.b_along_k ? j * p.b_stride + k : k * p.b_stride + j)];
          double y = p.alpha * sum + (p.has_c ? p.beta * bias[i * p.c_row + j * p.c_column] : 0.0);
          if (p.relu && y < 0) y = 0;
          expected = c.adds ? expected + y : y;
          magnitude = std::sqrt(static_cast<double>(p.k * c.sums) + 1);
        }
        const double found = d.written(at);
        const bool good = std::abs(found - expected) <= (j < p.n ? tolerance * magnitude : 0.0);
        if (!good && ++bad <= 3)
          ADD_FAILURE() << "[" << batch << ", " << i << ", " << j << "]: expected " << expected
                        << ", found " << found;
      }
  EXPECT_EQ(bad, 0);
}

constexpr Family kFamilies[] = {Family::kF32, Family::kTf32, Family::kBf16};
constexpr GemmTile kTiles[] = {GemmTile::kSmall, GemmTile::kMedium, GemmTile::kLarge};

/// A step of a family along K.
std::int64_t depth_of(Family family) {
  return family == Family::kF32 ? 16 : family == Family::kTf32 ? 32 : 64;
}

TEST(GemmOwn, MultipliesAlignedMatricesInEveryOrderByEveryTile) {
  for (Family family : kFamilies)
    for (GemmTile tile : kTiles)
      for (int order = 0; order < 4; ++order) {
        const std::int64_t side = tile == GemmTile::kSmall ? 64 : 128;
        // More than one tile in each direction, and more steps than there are buffers.
        check({.family = family,
               .tiling = {tile, 1},
               .m = side + 8,
               .n = (tile == GemmTile::kLarge ? 256 : side) + 24,
               .k = 4 * depth_of(family) + 8,
               .a_along_k = order % 2 == 0,
               .b_along_k = order / 2 == 0});
      }
}

TEST(GemmOwn, MultipliesMatricesOfOddSizesAndStrides) {
  for (Family family : kFamilies)
    for (GemmTile tile : {GemmTile::kSmall, GemmTile::kMedium})
      for (int order = 0; order < 4; ++order)
        for (std::int64_t pad : {0, 3})
          check({.family = family,
                 .tiling = {tile, 1},
                 .m = 67,
                 .n = 133,
                 .k = 2 * depth_of(family) + 5,
                 .a_along_k = order % 2 == 0,
                 .b_along_k = order / 2 == 0,
                 .pad = pad,
                 .out_is_bf16 = family == Family::kBf16 && pad == 3});
}

TEST(GemmOwn, RowsOfOddLengthsMayBeAligned) {
  for (Family family : kFamilies)
    for (GemmTile tile : kTiles)
      for (int order = 0; order < 4; ++order)
        check({.family = family,
               .tiling = {tile, 1},
               .m = 43,
               .n = 51,
               .k = depth_of(family) + 3,
               .a_along_k = order % 2 == 0,
               .b_along_k = order / 2 == 0,
               .pad = 5});
}

TEST(GemmOwn, TheSmallestMatricesHaveOneElement) {
  for (Family family : kFamilies)
    for (GemmTile tile : kTiles)
      for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {1, 9, 8}, {8, 1, 64}, {3, 2, 0}})
        for (bool along : {false, true}) {
          if (tile == GemmTile::kLarge && (m % 8 != 0 || n % 8 != 0 || k % 8 != 0)) continue;
          check({.family = family,
                 .tiling = {tile, 1},
                 .m = m,
                 .n = n,
                 .k = k,
                 .a_along_k = along,
                 .b_along_k = along,
                 .c = Case::C::kRow});
        }
}

TEST(GemmOwn, SplitsAreSummed) {
  for (Family family : kFamilies)
    for (GemmTile tile : kTiles)
      for (int splits : {2, 3, 5}) {
        const std::int64_t steps = 7;
        check({.family = family,
               .tiling = {tile, splits},
               .m = 40,
               .n = 48,
               .k = steps * depth_of(family) - 8,
               .a_along_k = false,
               .adds = splits == 3,
               .alpha = 0.5f});
      }
  check({.tiling = {GemmTile::kSmall, 4},
         .m = 5,
         .n = 7,
         .k = 100,
         .relu = true,
         .c = Case::C::kColumn,
         .beta = 2});
  // More parts than steps: as many as there are steps.
  check({.family = Family::kBf16, .tiling = {GemmTile::kSmall, 9}, .m = 8, .n = 8, .k = 130});
}

TEST(GemmOwn, BatchesAndSumsOfProductsHaveStrides) {
  for (Family family : kFamilies)
    for (int splits : {1, 2})
      for (std::int64_t odd : {0, 1}) {
        check({.family = family,
               .tiling = {GemmTile::kSmall, splits},
               .m = 16 + odd,
               .n = 24,
               .k = 72 + odd,
               .batches = 3});
        check({.family = family,
               .tiling = {GemmTile::kSmall, splits},
               .m = 16,
               .n = 24 + odd,
               .k = 72,
               .a_along_k = false,
               .b_along_k = true,
               .batches = 2,
               .sums = 3});
        check({.family = family,
               .tiling = {GemmTile::kSmall, splits},
               .m = 8,
               .n = 16,
               .k = 32 + odd,
               .batches = 3,
               .b_is_one = true,
               .c = Case::C::kRow});
      }
  check({.family = Family::kBf16,
         .tiling = {GemmTile::kLarge, 1},
         .m = 16,
         .n = 24,
         .k = 200,
         .b_along_k = true,
         .batches = 2,
         .sums = 2});
}

TEST(GemmOwn, SumsAreFinishedOnTheirWayOut) {
  for (Family family : kFamilies)
    for (Case::C c :
         {Case::C::kNone, Case::C::kRow, Case::C::kColumn, Case::C::kFull, Case::C::kScalar})
      for (int what = 0; what < 4; ++what)
        check({.family = family,
               .tiling = {GemmTile::kSmall, 1},
               .m = 9,
               .n = what % 2 == 0 ? 36 : 37,
               .k = 24,
               .out_is_bf16 = what >= 2,
               .relu = what != 1,
               .adds = what == 1,
               .c = c,
               .alpha = 0.75f,
               .beta = -1.5f});
}

TEST(GemmOwn, NanIsNotHiddenByAnActivation) {
  float a = std::numeric_limits<float>::quiet_NaN(), d = 0;
  alignas(16) float left[4] = {a}, right[4] = {1}, out[4] = {d};
  GemmProblem p{.m = 1, .n = 1, .k = 1, .a_stride = 1, .b_stride = 1, .d_stride = 1, .relu = true};
  BackendStream stream;
  GemmOwn(p, {}).run("gemm_test", {left, right, nullptr, out}, nullptr, stream);
  EXPECT_TRUE(std::isnan(out[0]));
}

TEST(GemmOwn, OneProductIsCutInManyWaysThatAllExist) {
  const GemmProblem wide{.m = 4096,
                         .n = 4096,
                         .k = 4096,
                         .type = DType::kBf16,
                         .a_stride = 4096,
                         .b_stride = 4096,
                         .d_stride = 4096};
  EXPECT_EQ(own_tilings(wide, 132).front(), (GemmTiling{GemmTile::kLarge, 1}));
  GemmProblem gradient = wide;  // of the weights of a layer, over a long batch
  gradient.m = gradient.n = 256, gradient.k = 65536;
  EXPECT_GT(own_tilings(gradient, 132).front().splits, 4);
  GemmProblem odd = wide;
  odd.a_stride = 4097;
  for (const GemmTiling& tiling : own_tilings(odd, 132)) EXPECT_NE(tiling.tile, GemmTile::kLarge);
  GemmProblem empty = wide;
  empty.k = 0;
  EXPECT_EQ(own_tilings(empty, 132).front().splits, 1);
}

TEST(GemmProblem, AxesJoinWhereStridesAllowIt) {
  // Batches by one matrix: the rows of all batches are rows of one matrix.
  GemmProblem p{.m = 3, .n = 5, .k = 4, .a_stride = 4, .b_stride = 5, .d_stride = 5};
  p.batches.add({7, 24, 0, 30});
  p.batches.add({2, 12, 0, 15});
  const GemmProblem rows = simplified(p);
  EXPECT_EQ(rows.m, 42);
  EXPECT_EQ(rows.batches.used, 0);

  GemmProblem stretched = p;  // a is the same for all batches of the outer axis
  stretched.batches = {};
  stretched.batches.add({7, 0, 40, 30});
  stretched.batches.add({2, 12, 20, 15});
  EXPECT_EQ(simplified(stretched).batches.used, 2);
  EXPECT_EQ(simplified(stretched).m, 3);

  // The gradient of that one matrix: K continues through the batches.
  GemmProblem gradient{
      .m = 4, .n = 5, .k = 3, .a_along_k = false, .a_stride = 4, .b_stride = 5, .d_stride = 5};
  gradient.sums.add({7, 24, 30, 0});
  gradient.sums.add({2, 12, 15, 0});
  EXPECT_EQ(simplified(gradient).k, 42);
  EXPECT_EQ(simplified(gradient).sums.used, 0);
}

}  // namespace
}  // namespace phalanx
