// SPDX-License-Identifier: Apache-2.0
// Fragments, matrix loads and asynchronous copies, against products in double and against each other.
#include "simt/mma.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "simt/arrays.hpp"

namespace phalanx {
namespace {

constexpr int kRows = 16, kColumns = 8;

/// Each lane fills its fragments from the matrices in memory, by the tables of the PTX ISA.
__global__ void one_bf16_product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto pair = [](__nv_bfloat16 low, __nv_bfloat16 high) {
    return std::uint32_t{__bfloat16_as_ushort(low)} | std::uint32_t{__bfloat16_as_ushort(high)}
                                                          << 16;
  };
  std::uint32_t left[4], right[2];
  for (int i = 0; i < 4; ++i) {
    const int row = i % 2 ? g + 8 : g, column = i < 2 ? 2 * t : 2 * t + 8;
    left[i] = pair(a[row * 16 + column], a[row * 16 + column + 1]);
  }
  for (int i = 0; i < 2; ++i)
    right[i] = pair(b[(2 * t + 8 * i) * kColumns + g], b[(2 * t + 1 + 8 * i) * kColumns + g]);
  float sum[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  simt::mma_bf16(sum, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * kColumns + 2 * t + i % 2] = sum[i];
}

__global__ void one_tf32_product(const float* a, const float* b, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const std::uint32_t left[4] = {simt::to_tf32(a[g * 8 + t]), simt::to_tf32(a[(g + 8) * 8 + t]),
                                 simt::to_tf32(a[g * 8 + t + 4]),
                                 simt::to_tf32(a[(g + 8) * 8 + t + 4])};
  const std::uint32_t right[2] = {simt::to_tf32(b[t * kColumns + g]),
                                  simt::to_tf32(b[(t + 4) * kColumns + g])};
  float sum[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  simt::mma_tf32(sum, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * kColumns + 2 * t + i % 2] = sum[i];
}

TEST(SimtMma, Bf16FragmentsMultiplyAsMatricesDo) {
  const auto a_floats = some_floats(kRows * 16, 1), b_floats = some_floats(16 * kColumns, 2);
  const std::vector<__nv_bfloat16> a(a_floats.begin(), a_floats.end()),
      b(b_floats.begin(), b_floats.end());
  std::vector<float> d(kRows * kColumns);
  simt::launch(one_bf16_product, 1, 32, 0, nullptr, a.data(), b.data(), d.data());
  const auto expected = product(a, b, kRows, kColumns, 16);
  for (std::size_t i = 0; i < d.size(); ++i) EXPECT_NEAR(d[i], expected[i] + 1, 2e-6) << i;
}

TEST(SimtMma, Tf32FragmentsMultiplyAsMatricesDo) {
  const auto a = some_floats(kRows * 8, 3), b = some_floats(8 * kColumns, 4);
  std::vector<float> d(kRows * kColumns), a_rounded(a), b_rounded(b);
  for (auto* values : {&a_rounded, &b_rounded}) {
    for (float& value : *values) {  // 11 bits, ties away from zero
      int exponent = 0;
      const double mantissa = std::frexp(value, &exponent);
      value = static_cast<float>(std::ldexp(std::round(mantissa * 2048), exponent - 11));
    }
  }
  simt::launch(one_tf32_product, 1, 32, 0, nullptr, a.data(), b.data(), d.data());
  const auto expected = product(a_rounded, b_rounded, kRows, kColumns, 8);
  for (std::size_t i = 0; i < d.size(); ++i) EXPECT_NEAR(d[i], expected[i] + 1, 2e-6) << i;
}

template <int count, bool transposed>
__global__ void load(std::uint32_t* out) {
  __shared__ __align__(16) std::uint16_t tile[32][8];
  for (int i = 0; i < 8; ++i)
    tile[threadIdx.x][i] = static_cast<std::uint16_t>(threadIdx.x * 8 + i);
  __syncwarp();
  std::uint32_t registers[count];
  const void* row = &tile[threadIdx.x % (count * 8)][0];
  if constexpr (transposed) {
    simt::load_matrix_transposed(registers, row);
  } else {
    simt::load_matrix(registers, row);
  }
  for (int i = 0; i < count; ++i) out[threadIdx.x * count + i] = registers[i];
}

template <int count, bool transposed>
void expect_loads() {
  std::vector<std::uint32_t> out(32 * count);
  simt::launch(load<count, transposed>, 1, 32, 0, nullptr, out.data());
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned matrix = 0; matrix < count; ++matrix) {
      const unsigned g = lane / 4, t = lane % 4 * 2, first = matrix * 64;
      const unsigned low = transposed ? first + t * 8 + g : first + g * 8 + t;
      const unsigned high = transposed ? low + 8 : low + 1;
      EXPECT_EQ(out[lane * count + matrix], low | high << 16)
          << count << " lane " << lane << " matrix " << matrix;
    }
  }
}

TEST(SimtMma, MatricesAreLoadedInOnesTwosAndFours) {
  expect_loads<1, false>();
  expect_loads<2, false>();
  expect_loads<4, false>();
  expect_loads<1, true>();
  expect_loads<2, true>();
  expect_loads<4, true>();
}

__global__ void half_a_warp_multiplies(float* out) {
  float d[4] = {};
  const std::uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) simt::mma_bf16(d, a, b);
  out[threadIdx.x] = d[0];
}

__global__ void load_from_an_odd_address(std::uint32_t* out) {
  __shared__ __align__(16) std::uint16_t tile[64];
  std::uint32_t registers[1];
  simt::load_matrix(registers, tile + threadIdx.x % 8 * 4);
  out[threadIdx.x] = registers[0];
}

template <class Kernel, class Out>
std::string refusal_of(Kernel kernel, Out* out) {
  try {
    simt::launch(kernel, 1, 32, 0, nullptr, out);
  } catch (const simt::Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(SimtMma, HalfAWarpAndOddAddressesAreRefused) {
  std::vector<float> sums(32);
  std::vector<std::uint32_t> registers(32);
  std::string message = refusal_of(half_a_warp_multiplies, sums.data());
  EXPECT_NE(message.find("mma_bf16"), std::string::npos) << message;
  message = refusal_of(load_from_an_odd_address, registers.data());
  EXPECT_NE(message.find("not aligned to 16 bytes"), std::string::npos) << message;
}

__global__ void copies_in_groups(const int* from, int* out) {
  __shared__ __align__(16) int to[3][32][4];
  const auto i = static_cast<int>(threadIdx.x);
  for (int group = 0; group < 3; ++group) {
    simt::copy_async<16>(to[group][i], from + (group * 32 + i) * 4, group == 2 ? 8 : 16);
    simt::commit_copies();
  }
  simt::wait_for_copies<1>();
  for (int j = 0; j < 4; ++j) out[i * 12 + j] = to[0][i][j] + to[1][i][j];
  simt::wait_for_copies<0>();
  for (int j = 0; j < 4; ++j) out[i * 12 + 4 + j] = to[2][i][j];
  simt::copy_async<8>(to[0][i], from + i * 2);
  simt::copy_async<4>(to[1][i], from + i);
  simt::commit_copies();
  simt::wait_for_copies<0>();
  out[i * 12 + 8] = to[0][i][0];
  out[i * 12 + 9] = to[0][i][1];
  out[i * 12 + 10] = to[1][i][0];
  out[i * 12 + 11] = to[1][i][1];  // not touched by four bytes
}

TEST(SimtMma, AsynchronousCopiesArriveByGroup) {
  std::vector<int> from(3 * 32 * 4), out(32 * 12);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<int>(i) * 7;
  simt::launch(copies_in_groups, 1, 32, 0, nullptr, from.data(), out.data());
  for (int i = 0; i < 32; ++i) {
    const auto source = [&](int group, int j) { return from[(group * 32 + i) * 4 + j]; };
    for (int j = 0; j < 4; ++j) {
      EXPECT_EQ(out[i * 12 + j], source(0, j) + source(1, j));
      EXPECT_EQ(out[i * 12 + 4 + j], j < 2 ? source(2, j) : 0);
    }
    EXPECT_EQ(out[i * 12 + 8], from[i * 2]);
    EXPECT_EQ(out[i * 12 + 9], from[i * 2 + 1]);
    EXPECT_EQ(out[i * 12 + 10], from[i]);
    EXPECT_EQ(out[i * 12 + 11], source(1, 1));
  }
}

}  // namespace
}  // namespace phalanx
