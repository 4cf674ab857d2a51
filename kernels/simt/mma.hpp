// SPDX-License-Identifier: Apache-2.0
/// Tensor cores and asynchronous copies of compute capability 8.0: PTX under nvcc, emulated otherwise.
///
///   mma_bf16(d, a, b)     d[16,8] += a[16,16] b[16,8]; a, b bf16, two in a register, the lower column or row in the low half
///   mma_tf32(d, a, b)     d[16,8] += a[16,8] b[8,8]; a, b are floats of which the lowest 13 bits do not count
///   to_tf32(x)            x, rounded to what does count
///   load_matrix[_transposed](r, row)      ldmatrix: 1, 2 or 4 matrices of 8 x 8 16-bit elements, as many as r has
///                         registers; lane i hands in row i % 8 of matrix i / 8, 16 bytes in shared memory
///   copy_async<bytes>(to, from[, valid])  cp.async: 4, 8 or 16 bytes, global to shared; zeros behind `valid` bytes
///   commit_copies(), wait_for_copies<groups>()   until no more than `groups` of the newest groups are under way
///
/// Fragments are those of the PTX ISA. With g = lane / 4 and t = lane % 4, by register, as {row, first column or row}:
///   a bf16  {g, 2t}, {g + 8, 2t}, {g, 2t + 8}, {g + 8, 2t + 8}     b bf16  {2t, g}, {2t + 8, g}
///   a tf32  {g, t}, {g + 8, t}, {g, t + 4}, {g + 8, t + 4}         b tf32  {t, g}, {t + 4, g}
///   d       {g, 2t}, {g, 2t + 1}, {g + 8, 2t}, {g + 8, 2t + 1}
#pragma once
#include <cstdint>

#include "simt/simt.hpp"

namespace simt {

#if !SIMT_EMULATED

__device__ __forceinline__ void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void load_matrix(std::uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_transposed(std::uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_transposed(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_transposed(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

template <int bytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, unsigned valid = bytes) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  if constexpr (bytes == 16) {  // past the L1 cache, which only copies of 16 bytes can be
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)),
                 "l"(from), "n"(bytes), "r"(valid)
                 : "memory");
  }
}
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int groups>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

#else

/// What a lane hands to an mma: its fragments, and room for its part of the result.
struct MmaOperand {
  std::uint32_t a[4], b[2];
  float d[4];
};

/// Element {row, k} of the left and {k, column} of the right matrix, out of the fragments of all lanes.
struct Bf16Fragments {
  static constexpr int kDepth = 16;
  static float value(std::uint32_t pair, int k) {
    return std::bit_cast<float>(k % 2 ? pair & 0xffff0000 : pair << 16);
  }
  static float a(const Lanes& lanes, int row, int k) {
    const auto& operand = lanes.at<MmaOperand>(static_cast<unsigned>(row % 8 * 4 + k % 8 / 2));
    return value(operand.a[row / 8 + k / 8 * 2], k);
  }
  static float b(const Lanes& lanes, int k, int column) {
    return value(lanes.at<MmaOperand>(static_cast<unsigned>(column * 4 + k % 8 / 2)).b[k / 8], k);
  }
};

struct Tf32Fragments {
  static constexpr int kDepth = 8;
  static float value(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000); }
  static float a(const Lanes& lanes, int row, int k) {
    return value(
        lanes.at<MmaOperand>(static_cast<unsigned>(row % 8 * 4 + k % 4)).a[row / 8 + k / 4 * 2]);
  }
  static float b(const Lanes& lanes, int k, int column) {
    return value(lanes.at<MmaOperand>(static_cast<unsigned>(column * 4 + k % 4)).b[k / 4]);
  }
};

template <class Fragments>
void combine_mma(const Lanes& lanes) {
  constexpr int kDepth = Fragments::kDepth;
  float left[16][kDepth], right[kDepth][8];
  for (int k = 0; k < kDepth; ++k) {
    for (int row = 0; row < 16; ++row) left[row][k] = Fragments::a(lanes, row, k);
    for (int column = 0; column < 8; ++column) right[k][column] = Fragments::b(lanes, k, column);
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto& mine = lanes.at<MmaOperand>(static_cast<unsigned>(lane));
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      for (int k = 0; k < kDepth; ++k) mine.d[i] += left[row][k] * right[k][column];
    }
  }
}

template <class Fragments>
void mma(const char* name, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         Site site) {
  MmaOperand operand{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
  warp({.name = name, .combine = combine_mma<Fragments>, .convergence = Convergence::kAligned},
       &operand, site);
  for (int i = 0; i < 4; ++i) d[i] = operand.d[i];
}

inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     Site site = Site::current()) {
  mma<Bf16Fragments>("mma_bf16", d, a, b, site);
}
inline void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     Site site = Site::current()) {
  mma<Tf32Fragments>("mma_tf32", d, a, b, site);
}

/// To the nearest, ties away from zero.
inline std::uint32_t to_tf32(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::isfinite(x) ? (bits + 0x1000) & 0xffffe000 : bits;
}

struct MatrixOperand {
  std::uint16_t row[8];
  std::uint32_t result[4];
};

template <int count, bool transposed>
void combine_matrices(const Lanes& lanes) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned matrix = 0; matrix < count; ++matrix) {
      const auto element = [&](unsigned row, unsigned column) {
        return std::uint32_t{lanes.at<MatrixOperand>(matrix * 8 + row).row[column]};
      };
      const unsigned g = lane / 4, t = lane % 4 * 2;
      lanes.at<MatrixOperand>(lane).result[matrix] = transposed
                                                         ? element(t, g) | element(t + 1, g) << 16
                                                         : element(g, t) | element(g, t + 1) << 16;
    }
  }
}

template <bool transposed, int count>
void load_matrices(const char* name, std::uint32_t (&r)[count], const void* row, Site site) {
  static_assert(count == 1 || count == 2 || count == 4);
  MatrixOperand operand{};
  const int lane =
      static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
  if (lane <
      count * 8) {  // each lane reads its row itself, so that the sanitizers see who reads what
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
      fail(std::string(name) + " of a row not aligned to 16 bytes", site);
    for (int i = 0; i < 8; ++i) operand.row[i] = static_cast<const std::uint16_t*>(row)[i];
  }
  const Combine combine = combine_matrices<count, transposed>;
  warp({.name = name, .combine = combine, .convergence = Convergence::kAligned}, &operand, site);
  for (int i = 0; i < count; ++i) r[i] = operand.result[i];
}

template <int count>
void load_matrix(std::uint32_t (&r)[count], const void* row, Site site = Site::current()) {
  load_matrices<false>("load_matrix", r, row, site);
}
template <int count>
void load_matrix_transposed(std::uint32_t (&r)[count], const void* row,
                            Site site = Site::current()) {
  load_matrices<true>("load_matrix_transposed", r, row, site);
}

// A copy takes place when it is issued or when it is waited for. Nothing else may be seen meanwhile: what has not been
// copied yet is 0xff.
inline void finish_copy(const AsyncCopies::Copy& copy) {
  for (unsigned i = 0; i < copy.bytes; ++i) {
    static_cast<unsigned char*>(copy.to)[i] =
        i < copy.valid ? static_cast<const unsigned char*>(copy.from)[i] : 0;
  }
}

template <int bytes>
void copy_async(void* to, const void* from, unsigned valid = bytes, Site site = Site::current()) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  if ((reinterpret_cast<std::uintptr_t>(to) |
       (valid ? reinterpret_cast<std::uintptr_t>(from) : 0)) %
          bytes !=
      0) {
    fail("copy_async to or from an address not aligned to " + std::to_string(bytes) + " bytes",
         site);
  }
  AsyncCopies& copies = async_copies();
  const AsyncCopies::Copy copy{to, from, bytes, valid, copies.open_group};
  if (copies_at_once()) {
    finish_copy(copy);
    return;
  }
  for (unsigned i = 0; i < bytes; ++i) static_cast<unsigned char*>(to)[i] = 0xff;
  copies.waiting.push_back(copy);
}
inline void commit_copies() { ++async_copies().open_group; }
template <int groups>
void wait_for_copies() {
  AsyncCopies& copies = async_copies();
  std::erase_if(copies.waiting, [&](const AsyncCopies::Copy& copy) {
    if (copy.group + groups >= copies.open_group) return false;
    finish_copy(copy);
    return true;
  });
}

#endif

}  // namespace simt
