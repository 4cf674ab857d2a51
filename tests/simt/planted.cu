// SPDX-License-Identifier: Apache-2.0
// usage: simt_planted FAULT. Runs a kernel with this fault. Exit code 0: nobody noticed; 1: the result is wrong; 2: the
// emulation threw; else a sanitizer ended the program.
#include <cstdio>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "simt/mma.hpp"

namespace {

constexpr int kThreads = 64;

// Every kernel is to write the numbers of its block in reverse, or their neighbours, and has one fault.

__global__ void sound(const int* in, int* out) {
  __shared__ int numbers[kThreads];
  numbers[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
}

__global__ void static_shared_overrun(const int* in, int* out) {
  __shared__ int numbers[kThreads];
  numbers[threadIdx.x + 1] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = numbers[kThreads - threadIdx.x];
}

__device__ __attribute__((noinline)) void store(int* to, int value) { *to = value; }

__global__ void static_shared_overrun_by_pointer(const int* in, int* out) {
  __shared__ int numbers[kThreads];
  int* behind = numbers;
  behind += threadIdx.x;
  store(behind + 1, in[threadIdx.x]);
  __syncthreads();
  out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
}

__global__ void dynamic_shared_overrun(const int* in, int* out) {
  SIMT_DYNAMIC_SHARED(int, numbers);
  numbers[threadIdx.x + 1] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = numbers[kThreads - threadIdx.x];
}

__global__ void global_overread(const int* in, int* out) {
  out[threadIdx.x] = in[kThreads - threadIdx.x];
}

__global__ void misaligned_float4(const int* in, int* out) {
  const float4 four = *reinterpret_cast<const float4*>(in + 1 + threadIdx.x / 8 * 4);
  out[threadIdx.x] = static_cast<int>(four.x);
}

__global__ void missing_syncthreads(const int* in, int* out) {
  __shared__ int numbers[kThreads];
  numbers[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
}

__global__ void missing_syncthreads_before_reuse(const int* in, int* out) {
  __shared__ int numbers[kThreads];
  for (int round = 0; round < 2; ++round) {
    numbers[threadIdx.x] = in[threadIdx.x] * (round + 1);
    __syncthreads();
    out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x] / (round + 1);
  }
}

__global__ void missing_syncwarp(const int* in, int* out) {
  __shared__ int numbers[kThreads];
  numbers[threadIdx.x] = in[threadIdx.x];
  __shfl_xor_sync(~0u, 0, 1);  // waits, but orders no memory
  out[kThreads - 1 - (threadIdx.x ^ 1)] = numbers[threadIdx.x ^ 1];
}

__global__ void racing_write_in_a_block(const int* in, int* out) {
  out[threadIdx.x] = in[kThreads - 1 - threadIdx.x];
  if (threadIdx.x > 0) out[threadIdx.x - 1] = in[kThreads - threadIdx.x];
}

__global__ void racing_write_between_blocks(const int* in, int* out) {
  if (threadIdx.x == 0) {
    for (int i = 0; i < kThreads; ++i) out[i] += in[kThreads - 1 - i];
  }
}

__global__ void divergent_barrier(const int* in, int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = in[kThreads - 1 - threadIdx.x];
}

__global__ void barrier_in_one_branch(const int* in, int* out) {
  if (threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = in[kThreads - 1 - threadIdx.x];
}

__global__ void barrier_after_exit(const int* in, int* out) {
  if (threadIdx.x == 40) return;
  __syncthreads();
  out[threadIdx.x] = in[kThreads - 1 - threadIdx.x];
}

__global__ void shuffle_in_a_branch(const int* in, int* out) {
  int number = in[threadIdx.x];
  if (threadIdx.x % 2 == 0) number = __shfl_xor_sync(~0u, number, 2);
  __syncthreads();
  out[threadIdx.x] = number;
}

__global__ void shuffle_from_an_idle_lane(const int* in, int* out) {
  int number = in[threadIdx.x];
  if (threadIdx.x % 32 < 16) number = __shfl_xor_sync(0xffffu, number, 16);
  out[threadIdx.x] = number;
}

__global__ void lane_outside_its_mask(const int* in, int* out) {
  out[threadIdx.x] = __shfl_xor_sync(0xffffu, in[threadIdx.x], 1);
}

__global__ void masks_that_differ(const int* in, int* out) {
  out[threadIdx.x] = __shfl_xor_sync(threadIdx.x % 2 ? ~0u : ~1u, in[threadIdx.x], 0);
}

__global__ void intrinsics_that_differ(const int* in, int* out) {
  const int number = in[threadIdx.x];
  out[threadIdx.x] = threadIdx.x % 2 ? __shfl_xor_sync(~0u, number, 1)
                                     : static_cast<int>(__ballot_sync(~0u, number));
}

__global__ void uninitialised_dynamic_shared(const int* in, int* out) {
  SIMT_DYNAMIC_SHARED(int, sums);
  sums[threadIdx.x] += in[kThreads - 1 - threadIdx.x];
  out[threadIdx.x] = sums[threadIdx.x];
}

template <bool waits, bool synchronises>
__global__ void copied(const int* in, int* out) {
  __shared__ __align__(16) int numbers[kThreads];
  if (threadIdx.x < kThreads / 4)
    simt::copy_async<16>(numbers + threadIdx.x * 4, in + threadIdx.x * 4);
  simt::commit_copies();
  if constexpr (waits) simt::wait_for_copies<0>();
  if constexpr (synchronises) __syncthreads();
  out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
}

__global__ void missing_barrier_before_copies(const int* in, int* out) {
  __shared__ __align__(16) int numbers[kThreads];
  for (int round = 0; round < 2; ++round) {
    const unsigned i = threadIdx.x * 4;
    if (i < kThreads) simt::copy_async<16>(numbers + i, in + (i + 16 * round) % kThreads);
    simt::commit_copies();
    simt::wait_for_copies<0>();
    __syncthreads();
    if (round == 0) out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
  }
}

struct Plant {
  void (*kernel)(const int*, int*);
  std::size_t shared_bytes = 0;
  unsigned blocks = 1;
};

const std::map<std::string, Plant> plants = {
    {"none", {sound}},
    {"static_shared_overrun", {static_shared_overrun}},
    {"static_shared_overrun_by_pointer", {static_shared_overrun_by_pointer}},
    {"dynamic_shared_overrun", {dynamic_shared_overrun, kThreads * sizeof(int)}},
    {"global_overread", {global_overread}},
    {"misaligned_float4", {misaligned_float4}},
    {"missing_syncthreads", {missing_syncthreads}},
    {"missing_syncthreads_before_reuse", {missing_syncthreads_before_reuse}},
    {"missing_syncwarp", {missing_syncwarp}},
    {"racing_write_in_a_block", {racing_write_in_a_block}},
    {"racing_write_between_blocks", {racing_write_between_blocks, 0, 2}},
    {"divergent_barrier", {divergent_barrier}},
    {"barrier_in_one_branch", {barrier_in_one_branch}},
    {"barrier_after_exit", {barrier_after_exit}},
    {"shuffle_in_a_branch", {shuffle_in_a_branch}},
    {"shuffle_from_an_idle_lane", {shuffle_from_an_idle_lane}},
    {"lane_outside_its_mask", {lane_outside_its_mask}},
    {"masks_that_differ", {masks_that_differ}},
    {"intrinsics_that_differ", {intrinsics_that_differ}},
    {"uninitialised_dynamic_shared", {uninitialised_dynamic_shared, kThreads * sizeof(int)}},
    {"missing_copy_wait", {copied<false, true>}},
    {"missing_barrier_before_copies", {missing_barrier_before_copies}},
    {"missing_barrier_after_copies", {copied<true, false>}},
};

}  // namespace

int main(int argc, char** argv) {
  const auto plant = argc == 2 ? plants.find(argv[1]) : plants.end();
  if (plant == plants.end()) {
    std::fprintf(stderr, "usage: %s FAULT\n", argv[0]);
    return 64;
  }
  const auto& [kernel, shared_bytes, blocks] = plant->second;
  std::vector<int> in(kThreads), out(kThreads);
  std::iota(in.begin(), in.end(), 1);
  try {
    simt::launch(kernel, blocks, kThreads, shared_bytes, nullptr, in.data(), out.data());
  } catch (const simt::Error& error) {
    std::printf("simt::Error: %s\n", error.what());
    return 2;
  }
  for (int i = 0; i < kThreads; ++i) {
    const int expected = static_cast<int>(blocks) * in[kThreads - 1 - i];
    if (out[i] == expected) continue;
    std::printf("wrong result: element %d is %d, expected %d\n", i, out[i], expected);
    return 1;
  }
  return 0;
}
