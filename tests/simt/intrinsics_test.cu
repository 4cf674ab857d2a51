// SPDX-License-Identifier: Apache-2.0
// Every built-in function against plain loops over the threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "simt/simt.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 96;  // three warps
constexpr unsigned kFull = ~0u;

template <class T>
using PerThread = std::vector<T>;

/// What each thread of one block computes, by its number.
template <class T, class Kernel>
PerThread<T> results(Kernel kernel, int threads = kThreads) {
  PerThread<T> out(static_cast<std::size_t>(threads));
  simt::launch(kernel, 1, static_cast<unsigned>(threads), 0, nullptr, out.data());
  return out;
}

// ---- Indices, blocks, memory ----

__global__ void write_index(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] += static_cast<int>(block * 1000 + thread);
}

TEST(Simt, ThreadsKnowTheirPlaceInThreeDimensions) {
  std::vector<int> out(24 * 30);
  simt::launch(write_index, dim3(2, 3, 4), dim3(5, 3, 2), 0, nullptr, out.data());
  for (int block = 0; block < 24; ++block) {
    for (int thread = 0; thread < 30; ++thread)
      EXPECT_EQ(out[block * 30 + thread], block * 1000 + thread);
  }
}

__global__ void reverse_by_shared_memory(int* out) {
  __shared__ int numbers[kThreads];
  SIMT_DYNAMIC_SHARED(int, doubled);
  const unsigned i = threadIdx.x;
  numbers[i] = static_cast<int>(i + blockIdx.x);
  doubled[i] = 2 * static_cast<int>(i);
  __syncthreads();
  out[blockIdx.x * kThreads + i] = numbers[kThreads - 1 - i] * 1000 + doubled[(i + 1) % kThreads];
}

TEST(Simt, SharedMemoryBelongsToABlock) {
  std::vector<int> out(5 * kThreads);
  simt::launch(reverse_by_shared_memory, 5, kThreads, kThreads * sizeof(int), nullptr, out.data());
  for (int i = 0; i < 5 * kThreads; ++i) {
    const int block = i / kThreads, thread = i % kThreads;
    EXPECT_EQ(out[i], (kThreads - 1 - thread + block) * 1000 + (thread + 1) % kThreads * 2);
  }
}

__global__ void read_dynamic_shared(unsigned* out) {
  SIMT_DYNAMIC_SHARED(unsigned, memory);
  out[blockIdx.x * kThreads + threadIdx.x] = memory[threadIdx.x];
  memory[threadIdx.x] = 0;
}

TEST(Simt, DynamicSharedMemoryIsPoisonedForEveryBlock) {
  std::vector<unsigned> out(4 * kThreads);
  simt::launch(read_dynamic_shared, 4, kThreads, kThreads * 4, nullptr, out.data());
  for (const unsigned value : out) EXPECT_EQ(value, 0xffffffff);
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

__global__ void use_the_stack(unsigned* out) {
  volatile unsigned numbers[64];
  for (unsigned i = 0; i < 64; ++i) numbers[i] = i;
  out[threadIdx.x] = numbers[threadIdx.x % 64];
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
__global__ void read_variables(unsigned* out) {
  volatile unsigned numbers[64];
  out[threadIdx.x] = numbers[threadIdx.x % 64];
}
#pragma GCC diagnostic pop

TEST(Simt, VariablesArePoisonedForEveryThread) {
  std::vector<unsigned> out(kThreads);
  simt::launch(use_the_stack, 1, kThreads, 0, nullptr, out.data());
  simt::launch(read_variables, 1, kThreads, 0, nullptr, out.data());
  EXPECT_GT(std::count(out.begin(), out.end(), ~0u),
            kThreads / 2);  // the compiler may know better of some
}

#endif

// ---- Barriers and votes ----

__global__ void barrier_votes(int* out) {
  const int third = threadIdx.x % 3 == 0;
  const int count = __syncthreads_count(third);
  const int any = __syncthreads_or(threadIdx.x == 70), none = __syncthreads_or(0);
  const int all = __syncthreads_and(1), not_all = __syncthreads_and(threadIdx.x != 5);
  out[threadIdx.x] = count * 10000 + any * 1000 + none * 100 + all * 10 + not_all;
}

TEST(Simt, BarriersCountVotes) {
  for (const int value : results<int>(barrier_votes)) EXPECT_EQ(value, 32 * 10000 + 1000 + 10);
}

__global__ void warp_votes(unsigned* out) {
  const unsigned i = threadIdx.x;
  unsigned* mine = out + i * 4;
  mine[0] = __ballot_sync(kFull, i % 5 == 0);
  mine[1] = static_cast<unsigned>(__any_sync(kFull, i == 40)) * 2 +
            static_cast<unsigned>(__all_sync(kFull, i < 64));
  mine[2] = __match_any_sync(kFull, i % 7);
  mine[3] = 0;
  if (i % 2 == 0) mine[3] = __ballot_sync(0x55555555u, i % 4 == 0);
}

TEST(Simt, WarpsVote) {
  std::vector<unsigned> out(kThreads * 4);
  simt::launch(warp_votes, 1, kThreads, 0, nullptr, out.data());
  for (unsigned i = 0; i < kThreads; ++i) {
    unsigned ballot = 0, match = 0, even = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned other = i / 32 * 32 + lane;
      ballot |= unsigned{other % 5 == 0} << lane;
      match |= unsigned{other % 7 == i % 7} << lane;
      even |= unsigned{other % 4 == 0} << lane;
    }
    EXPECT_EQ(out[i * 4], ballot);
    EXPECT_EQ(out[i * 4 + 1], (i / 32 == 1 ? 2u : 0u) + (i / 32 < 2 ? 1u : 0u));
    EXPECT_EQ(out[i * 4 + 2], match);
    EXPECT_EQ(out[i * 4 + 3], i % 2 ? 0 : even);
  }
}

// ---- Shuffles and reductions ----

template <class T>
__global__ void shuffles(T* out, int width) {
  const auto i = static_cast<int>(threadIdx.x);
  const T value = static_cast<T>(i * 3 + 1);
  T* mine = out + i * 4;
  mine[0] = __shfl_sync(kFull, value, i + 5, width);
  mine[1] = __shfl_up_sync(kFull, value, 3, width);
  mine[2] = __shfl_down_sync(kFull, value, 2, width);
  mine[3] = __shfl_xor_sync(kFull, value, 6, width);
}

template <class T>
void expect_shuffles() {
  for (const int width : {32, 16, 8, 4, 2, 1}) {
    std::vector<T> out(kThreads * 4);
    simt::launch(shuffles<T>, 1, kThreads, 0, nullptr, out.data(), width);
    for (int i = 0; i < kThreads; ++i) {
      const int begin = i / width * width, end = begin + width;
      const int xor_lane = (i % 32 ^ 6) + i / 32 * 32;
      const int sources[] = {begin + (i + 5) % width, i - 3 >= begin ? i - 3 : i,
                             i + 2 < end ? i + 2 : i, xor_lane < end ? xor_lane : i};
      for (int s = 0; s < 4; ++s) {
        EXPECT_EQ(out[i * 4 + s], static_cast<T>(sources[s] * 3 + 1))
            << "thread " << i << " width " << width << " " << s;
      }
    }
  }
}

TEST(Simt, ShufflesReadTheLanesThatTheManualNames) {
  expect_shuffles<int>();
  expect_shuffles<float>();
  expect_shuffles<double>();
  expect_shuffles<unsigned long long>();
}

__global__ void shuffles_of_halves(int* out) {
  const auto i = static_cast<int>(threadIdx.x);
  if (i % 32 < 16) {
    out[i] = __shfl_xor_sync(0x0000ffffu, i, 1) + __shfl_down_sync(0x0000ffffu, i, 4, 16);
  } else {
    out[i] = -__shfl_xor_sync(0xffff0000u, i, 2);
  }
}

TEST(Simt, HalvesOfAWarpShuffleApart) {
  const auto out = results<int>(shuffles_of_halves);
  for (int i = 0; i < kThreads; ++i) {
    const int down = i % 16 + 4 < 16 ? i + 4 : i;
    EXPECT_EQ(out[i], i % 32 < 16 ? (i ^ 1) + down : -(i ^ 2));
  }
}

__global__ void shuffle_in_the_last_warp(int* out) {
  out[threadIdx.x] = __shfl_up_sync(kFull, static_cast<int>(threadIdx.x), 1);
}

TEST(Simt, AWarpOfWhichThreadsAreMissingShuffles) {
  const auto out = results<int>(shuffle_in_the_last_warp, 40);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(out[i], i % 32 ? i - 1 : i);
}

__global__ void reductions(int* out) {
  const auto i = static_cast<int>(threadIdx.x);
  int* mine = out + i * 6;
  mine[0] = __reduce_add_sync(kFull, i - 50);
  mine[1] = __reduce_min_sync(kFull, i - 50);
  mine[2] = __reduce_max_sync(kFull, i - 50);
  mine[3] = static_cast<int>(__reduce_and_sync(kFull, threadIdx.x | 8));
  mine[4] = static_cast<int>(__reduce_or_sync(kFull, threadIdx.x & 9));
  mine[5] = static_cast<int>(__reduce_xor_sync(kFull, threadIdx.x == 33 ? 12 : 0));
}

TEST(Simt, WarpsReduce) {
  std::vector<int> out(kThreads * 6);
  simt::launch(reductions, 1, kThreads, 0, nullptr, out.data());
  for (int i = 0; i < kThreads; ++i) {
    const int first = i / 32 * 32 - 50, last = first + 31;
    EXPECT_EQ(out[i * 6], (first + last) * 16);
    EXPECT_EQ(out[i * 6 + 1], first);
    EXPECT_EQ(out[i * 6 + 2], last);
    EXPECT_EQ(out[i * 6 + 3], i / 32 * 32 | 8);
    EXPECT_EQ(out[i * 6 + 4], 9);
    EXPECT_EQ(out[i * 6 + 5], i / 32 == 1 ? 12 : 0);
  }
}

__global__ void neighbours_by_syncwarp(int* out) {
  __shared__ int numbers[kThreads];
  int sum = 0;
  for (int round = 0; round < 3; ++round) {
    numbers[threadIdx.x] = static_cast<int>(threadIdx.x) + round;
    __syncwarp();
    sum += numbers[threadIdx.x ^ 1];
    __syncwarp();
  }
  out[threadIdx.x] = sum;
}

TEST(Simt, LanesWaitForEachOther) {
  const auto out = results<int>(neighbours_by_syncwarp);
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(out[i], 3 * (i ^ 1) + 3);
}

// ---- Atomics and fences ----

struct Totals {
  int sum, low, high, difference, exchanged, conjunction, alternation, parity, by_lock, lock;
  unsigned around, down;
  unsigned long long wide;
  float single_sum;
  double double_sum;
};

__global__ void atomics(Totals* t) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&t->sum, i);
  atomicMin(&t->low, -i);
  atomicMax(&t->high, i);
  atomicSub(&t->difference, 2);
  atomicExch(&t->exchanged, 7);
  atomicAnd(&t->conjunction, ~(1 << i % 8));
  atomicOr(&t->alternation, 1 << i % 8);
  atomicXor(&t->parity, i);
  atomicInc(&t->around, 9);
  atomicDec(&t->down, 4);
  atomicAdd(&t->wide, 1ull << 33);
  atomicAdd(&t->single_sum, 0.5f);
  atomicAdd(&t->double_sum, 0.25);
  while (atomicCAS(&t->lock, 0, 1) != 0) {
  }
  __threadfence();
  t->by_lock += i;
  __threadfence();
  atomicExch(&t->lock, 0);
}

TEST(Simt, AtomicsLoseNothing) {
  Totals t{};
  t.conjunction = 0xfff;
  simt::launch(atomics, 3, 64, 0, nullptr, &t);
  int parity = 0;
  for (int i = 0; i < 192; ++i) parity ^= i;
  EXPECT_EQ(t.sum, 191 * 192 / 2);
  EXPECT_EQ(t.low, -191);
  EXPECT_EQ(t.high, 191);
  EXPECT_EQ(t.difference, -384);
  EXPECT_EQ(t.exchanged, 7);
  EXPECT_EQ(t.conjunction, 0xf00);
  EXPECT_EQ(t.alternation, 0xff);
  EXPECT_EQ(t.parity, parity);
  EXPECT_EQ(t.around, 192u % 10);
  EXPECT_EQ(t.down, 3u);  // 0, 4, 3, 2, 1, 0, ...
  EXPECT_EQ(t.wide, 192ull << 33);
  EXPECT_EQ(t.single_sum, 96.0f);
  EXPECT_EQ(t.double_sum, 48.0);
  EXPECT_EQ(t.by_lock, 191 * 192 / 2);
}

/// The block that finishes last adds up what the others left in `parts`.
__global__ void last_block_sums(const int* numbers, int* parts, unsigned* ticket, int* sum) {
  __shared__ bool is_last;
  const int part = __syncthreads_count(numbers[blockIdx.x * blockDim.x + threadIdx.x]);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = part;
    __threadfence();
    is_last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (is_last && threadIdx.x == 0) {
    int total = 0;
    for (unsigned block = 0; block < gridDim.x; ++block) total += parts[block];
    *sum = total;
  }
}

TEST(Simt, TheLastBlockSeesWhatTheOthersWrote) {
  std::vector<int> numbers(8 * 64, 1), parts(8);
  unsigned ticket = 0;
  int sum = 0;
  simt::launch(last_block_sums, 8, 64, 0, nullptr, numbers.data(), parts.data(), &ticket, &sum);
  EXPECT_EQ(sum, 512);
  EXPECT_EQ(ticket, 0u);
}

__global__ void wait_for_a_flag(int* flag, int* out) {
  if (threadIdx.x == 0) {
    while (atomicAdd(flag, 0) == 0) {
    }
    *out = 1;
  } else if (threadIdx.x == 63) {
    atomicExch(flag, 1);
  }
}

TEST(Simt, AThreadMaySpinOnAnother) {
  int flag = 0, out = 0;
  simt::launch(wait_for_a_flag, 1, 64, 0, nullptr, &flag, &out);
  EXPECT_EQ(out, 1);
}

// ---- Arithmetic ----

__global__ void arithmetic(float* out) {
  const float x = 0.25f + static_cast<float>(threadIdx.x);
  float* mine = out + threadIdx.x * 4;
  mine[0] = __expf(-x) + __logf(x) + rsqrtf(x) + __fdividef(x, 3.0f);
  mine[1] = __fmaf_rn(x, x, 1.0f) + __saturatef(x) + __frcp_rn(x);
  mine[2] = static_cast<float>(__popc(threadIdx.x) + __clz(static_cast<int>(threadIdx.x)) +
                               __ffs(6) + static_cast<int>(__brev(1u) >> 31));
  mine[3] =
      __int_as_float(__float_as_int(x)) + static_cast<float>(min(threadIdx.x, 7u) + max(3, 5));
}

TEST(Simt, ArithmeticIsThatOfTheLibrary) {
  std::vector<float> out(kThreads * 4);
  simt::launch(arithmetic, 1, kThreads, 0, nullptr, out.data());
  for (int i = 0; i < kThreads; ++i) {
    const double x = 0.25 + i;
    EXPECT_NEAR(out[i * 4], std::exp(-x) + std::log(x) + 1 / std::sqrt(x) + x / 3, 1e-5 * x + 1e-5);
    EXPECT_NEAR(out[i * 4 + 1], x * x + 1 + std::min(x, 1.0) + 1 / x, 1e-6 * x * x + 1e-5);
    const int zeros = i ? __builtin_clz(static_cast<unsigned>(i)) : 32;
    EXPECT_EQ(out[i * 4 + 2],
              static_cast<float>(__builtin_popcount(static_cast<unsigned>(i)) + zeros + 2 + 1));
    EXPECT_EQ(out[i * 4 + 3], static_cast<float>(x + std::min(i, 7) + 5));
  }
}

// ---- Orders ----

__global__ void sign_up(int* list, int* entries) {
  list[atomicAdd(entries, 1)] = static_cast<int>(threadIdx.x);
}

/// The order in which threads sign up.
std::vector<int> order_of_threads(const char* order, const char* seed) {
  const char* before = std::getenv("SIMT_ORDER");
  const std::string kept_order = before ? before : "ascending";
  before = std::getenv("SIMT_SEED");
  const std::string kept_seed = before ? before : "1";
  setenv("SIMT_ORDER", order, 1);
  setenv("SIMT_SEED", seed, 1);
  std::vector<int> list(64);
  int entries = 0;
  try {
    simt::launch(sign_up, 1, 64, 0, nullptr, list.data(), &entries);
  } catch (const simt::Error& error) {
    EXPECT_STREQ(error.what(), "SIMT_ORDER is 'upwards'; expected ascending, descending or random");
    list.clear();
  }
  setenv("SIMT_ORDER", kept_order.c_str(), 1);
  setenv("SIMT_SEED", kept_seed.c_str(), 1);
  return list;
}

TEST(Simt, ThreadsRunInTheOrderAskedFor) {
  std::vector<int> numbers(64);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_EQ(order_of_threads("ascending", "1"), numbers);
  const auto descending = order_of_threads("descending", "1");
  EXPECT_TRUE(std::equal(descending.begin(), descending.end(), numbers.rbegin()));
  auto random = order_of_threads("random", "1");
  EXPECT_EQ(order_of_threads("random", "1"), random);
  EXPECT_NE(order_of_threads("random", "2"), random);
  EXPECT_NE(random, numbers);
  std::sort(random.begin(), random.end());
  EXPECT_EQ(random, numbers);
  EXPECT_TRUE(order_of_threads("upwards", "1").empty());
}

// ---- What is refused ----

std::string message_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const simt::Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

enum Life { kUnborn, kAlive, kDead };

__global__ void half_of_a_barrier(Life* lives) {
  struct Lives {
    explicit Lives(Life* in_life) : life(in_life) { *life = kAlive; }
    ~Lives() { *life = kDead; }
    Life* life;
  };
  const Lives lives_while_the_kernel_runs(lives + threadIdx.x);
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(Simt, AFaultUnwindsEveryThreadAndTheNextLaunchIsSound) {
  for (int round = 0; round < 3; ++round) {
    std::vector<Life> lives(64);
    const std::string message =
        message_of([&] { simt::launch(half_of_a_barrier, 1, 64, 0, nullptr, lives.data()); });
    EXPECT_NE(message.find("divergent barrier"), std::string::npos) << message;
    EXPECT_NE(message.find("intrinsics_test.cu:"), std::string::npos) << message;
    EXPECT_NE(message.find("block (0,0,0), thread ("), std::string::npos) << message;
    EXPECT_EQ(std::count(lives.begin(), lives.end(), kAlive), 0);
    EXPECT_GE(std::count(lives.begin(), lives.end(), kDead), 2);
    for (const int value : results<int>(barrier_votes)) EXPECT_EQ(value, 32 * 10000 + 1000 + 10);
  }
}

__global__ void nothing() {}
constexpr unsigned kLineOfTheTrap = __LINE__ + 1;
__global__ void traps() { __trap(); }
__global__ void too_wide(int* out) { *out = __shfl_sync(kFull, 1, 0, 12); }
__global__ void spins() {
  __shared__ int flag;
  while (atomicExch(&flag, 1) >= 0) {
  }
}

TEST(Simt, AnImpossibleLaunchNamesTheCall) {
  const auto message = [](unsigned grid, unsigned block, std::size_t shared) {
    return message_of([=] { simt::launch(nothing, grid, block, shared, nullptr); });
  };
  EXPECT_NE(message(1, 1025, 0).find("intrinsics_test.cu:"), std::string::npos);
  EXPECT_NE(message(1, 1025, 0).find("a block of 1025 x 1 x 1"), std::string::npos);
  EXPECT_NE(message(0, 32, 0).find("a grid of 0 x 1 x 1"), std::string::npos);
  EXPECT_NE(message(1, 32, 228 << 10).find("bytes of dynamic shared memory"), std::string::npos);
  EXPECT_EQ(message(1, 1024, 227 << 10), "nothing was thrown");
}

TEST(Simt, AFaultNamesItsLine) {
  const std::string message = message_of([] { simt::launch(traps, 1, 32, 0, nullptr); });
  EXPECT_NE(message.find("intrinsics_test.cu:" + std::to_string(kLineOfTheTrap) + ": "),
            std::string::npos)
      << message;
}

TEST(Simt, AWidthThatIsNoPowerOfTwoIsRefused) {
  int out = 0;
  const std::string message = message_of([&] { simt::launch(too_wide, 1, 32, 0, nullptr, &out); });
  EXPECT_NE(message.find("__shfl_sync: a width of 12"), std::string::npos) << message;
}

TEST(Simt, SpinningForeverIsFound) {
  const std::string message = message_of([&] { simt::launch(spins, 1, 64, 0, nullptr); });
  EXPECT_NE(message.find("livelock"), std::string::npos) << message;
}

}  // namespace
}  // namespace phalanx
