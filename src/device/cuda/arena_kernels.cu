// SPDX-License-Identifier: Apache-2.0
#include "device/cuda/arena_kernels.hpp"

#include "common/launch.hpp"
#include "common/pack.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 256;

// --- convert

/// Who       each thread takes four elements; the last threads the rest one by one
/// Memory    registers; each byte is read and written once
/// Barriers  none
/// Bound     by bytes
/// Sizes     any; both sides aligned to 16 bytes
template <class From, class To>
__global__ void __launch_bounds__(kThreads)
    convert_kernel(const From* __restrict__ from, To* __restrict__ to, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t packs = count / 4;
  if (i < packs) {
    float x[4];
    load(from + 4 * i, x);
    store(x, to + 4 * i);
  } else if (i < packs + count % 4) {
    const std::int64_t at = 4 * packs + (i - packs);
    to[at] = from_f32<To>(to_f32(from[at]));
  }
}

// --- rounding with feedback

/// Who       each thread takes four elements; the last threads the rest one by one
/// Memory    registers; each byte is read and written once
/// Barriers  none
/// Bound     by bytes: 14 for each element
/// Sizes     any; all sides aligned to 16 bytes
__global__ void __launch_bounds__(kThreads)
    round_with_feedback_kernel(const float* __restrict__ values, float* __restrict__ kept,
                               __nv_bfloat16* __restrict__ rounded, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t packs = count / 4;
  if (i < packs) {
    float x[4], taken[4];
    load(values + 4 * i, x);
    load(kept + 4 * i, taken);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float wanted = x[k] + taken[k];
      x[k] = to_f32(from_f32<__nv_bfloat16>(wanted));
      taken[k] = wanted - x[k];
    }
    store(x, rounded + 4 * i);
    store(taken, kept + 4 * i);
  } else if (i < packs + count % 4) {
    const std::int64_t at = 4 * packs + (i - packs);
    const float wanted = values[at] + kept[at];
    rounded[at] = from_f32<__nv_bfloat16>(wanted);
    kept[at] = wanted - to_f32(rounded[at]);
  }
}

// --- combine

struct CombinedInputs {
  const void* at[DeviceBackend::kMostCombined];
  int count;
};

template <ReduceOp op, class T>
__device__ T join(T a, T b) {
  if constexpr (op == ReduceOp::kSum) return a + b;
  if constexpr (op == ReduceOp::kMax) return a < b ? b : a;
  return b < a ? b : a;
}

/// The binary tree of combine() as it unfolds over the inputs from left to right: a stack of partial results, of which two
/// neighbours meet as often as the number of inputs so far is even. What is left meets from the right.
///
/// Who       one element a thread
/// Memory    the stack in registers: 7 entries for 64 inputs
/// Barriers  none: the output may be an input, for each element is read before it is written
/// Bound     by bytes
/// Sizes     up to kMostCombined inputs of any length
template <ReduceOp op, class Stored, class Wide>
__global__ void __launch_bounds__(kThreads)
    combine_kernel(CombinedInputs inputs, Stored* output, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  constexpr int kDepth = 7;
  Wide stack[kDepth];
  for (int n = 0; n < inputs.count; ++n) {
    Wide value = static_cast<Wide>(static_cast<const Stored*>(inputs.at[n])[i]);
    bool placed = false;
#pragma unroll
    for (int level = 0; level < kDepth; ++level) {
      if (placed) continue;
      if ((n >> level & 1) != 0) {
        value = join<op>(stack[level], value);
      } else {
        stack[level] = value;
        placed = true;
      }
    }
  }
  bool begun = false;
  Wide sum{};
#pragma unroll
  for (int level = 0; level < kDepth; ++level) {
    if ((inputs.count >> level & 1) == 0) continue;
    sum = begun ? join<op>(stack[level], sum) : stack[level];
    begun = true;
  }
  if constexpr (sizeof(Stored) == 2)
    output[i] = from_f32<Stored>(sum);
  else
    output[i] = sum;
}

template <class Stored, class Wide = Stored>
void combine_as(ReduceOp op, const CombinedInputs& inputs, void* output, std::int64_t count,
                BackendStream& stream) {
  const auto kernel = op == ReduceOp::kSum   ? combine_kernel<ReduceOp::kSum, Stored, Wide>
                      : op == ReduceOp::kMax ? combine_kernel<ReduceOp::kMax, Stored, Wide>
                                             : combine_kernel<ReduceOp::kMin, Stored, Wide>;
  launch("combine", kernel, blocks_for(count, kThreads), kThreads, 0, stream, inputs,
         static_cast<Stored*>(output), count);
}

// --- sums of squares

/// Who       a block of threads takes a block of values, each thread every kThreads-th of them
/// Memory    one double per warp in shared memory
/// Barriers  one, between the sums of the warps and that of the first warp
/// Bound     by bytes; double precision costs less than the memory for blocks of 1024
/// Sizes     any
__global__ void __launch_bounds__(kThreads)
    sum_squares_kernel(const float* __restrict__ values, std::int64_t count, std::int64_t block,
                       double* __restrict__ sums) {
  __shared__ double of_warps[kThreads / 32];
  const std::int64_t begin = blockIdx.x * block,
                     end = begin + block < count ? begin + block : count;
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const auto v = static_cast<double>(values[i]);
    sum += v * v;
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = 0;
  for (int warp = 0; warp < kThreads / 32; ++warp) sum += of_warps[warp];
  sums[blockIdx.x] = sum;
}

// --- scale

/// Who       each thread takes four values; the last threads the rest one by one
/// Memory    registers; each byte is read and written once
/// Barriers  none
/// Bound     by bytes
/// Sizes     any; values aligned to 16 bytes
__global__ void __launch_bounds__(kThreads)
    scale_kernel(float* values, float factor, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t packs = count / 4;
  if (i < packs) {
    float x[4];
    load(values + 4 * i, x);
#pragma unroll
    for (float& v : x) v *= factor;
    store(x, values + 4 * i);
  } else if (i < packs + count % 4) {
    values[4 * packs + (i - packs)] *= factor;
  }
}

// --- the verdict on a step

__device__ bool is_finite(float x) { return fabsf(x) <= 3.402823466e38f; }

/// Who       one block; each thread every kThreads-th sum, then thread 0 the sums of the threads
/// Memory    one double per thread in shared memory
/// Barriers  one, between the threads' sums and that of thread 0
/// Bound     by latency: some microseconds
/// Sizes     any number of sums; none counts as a norm of 0
__global__ void __launch_bounds__(kThreads)
    judge_step_kernel(const StepLimits* __restrict__ limits, const double* __restrict__ sums,
                      std::int64_t count, const float* __restrict__ loss, StepVerdict* verdict) {
  __shared__ double of_threads[kThreads];
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  of_threads[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = 0;
  for (const double part : of_threads) sum += part;
  const auto norm = static_cast<float>(sqrt(sum));
  const float mean = *loss / limits->samples;
  const bool is_bad = !is_finite(norm) || !is_finite(mean) || mean > limits->loss_limit;
  const float most = limits->clip_norm;
  const bool clips = most > 0.0f && norm > most;
  const float scale = clips ? static_cast<float>(static_cast<double>(most) / sqrt(sum)) : 1.0f;
  *verdict = {norm, is_bad ? nanf("") : scale, is_bad ? 1.0f : 0.0f, 0.0f};
}

}  // namespace

void scale_on_device(float* values, float factor, std::int64_t count, BackendStream& stream) {
  launch("scale", scale_kernel, blocks_for(count / 4 + count % 4, kThreads), kThreads, 0, stream,
         values, factor, count);
}

void judge_step_on_device(const StepLimits* limits, const double* sums, std::int64_t count,
                          const float* loss, StepVerdict* verdict, BackendStream& stream) {
  launch("judge_step", judge_step_kernel, 1, kThreads, 0, stream, limits, sums, count, loss,
         verdict);
}

void convert_on_device(DType from_type, const void* from, DType to_type, void* to,
                       std::int64_t count, BackendStream& stream) {
  with_cuda_type(from_type, [&]<class From>() {
    with_cuda_type(to_type, [&]<class To>() {
      launch("convert", convert_kernel<From, To>, blocks_for(count / 4 + count % 4, kThreads),
             kThreads, 0, stream, static_cast<const From*>(from), static_cast<To*>(to), count);
    });
  });
}

void round_with_feedback_on_device(const float* values, float* kept, void* rounded,
                                   std::int64_t count, BackendStream& stream) {
  launch("round_with_feedback", round_with_feedback_kernel,
         blocks_for(count / 4 + count % 4, kThreads), kThreads, 0, stream, values, kept,
         static_cast<__nv_bfloat16*>(rounded), count);
}

void combine_on_device(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
                       std::int64_t count, BackendStream& stream) {
  require(!inputs.empty() && inputs.size() <= DeviceBackend::kMostCombined,
          "combine on a device takes 1 to 64 inputs");
  CombinedInputs all{.count = static_cast<int>(inputs.size())};
  for (std::size_t i = 0; i < inputs.size(); ++i) all.at[i] = inputs[i];
  switch (type) {
    case DType::kF32: return combine_as<float>(op, all, output, count, stream);
    case DType::kBf16: return combine_as<__nv_bfloat16, float>(op, all, output, count, stream);
    case DType::kI64: return combine_as<long long>(op, all, output, count, stream);
    case DType::kI32: return combine_as<int>(op, all, output, count, stream);
    case DType::kU8: break;
  }
  throw InvalidArgument("a reduction takes f32, bf16, i64 or i32, found " +
                        std::string(name(type)));
}

void sum_squares_on_device(const float* values, std::int64_t count, std::int64_t block,
                           double* sums, BackendStream& stream) {
  launch("sum_squares", sum_squares_kernel, blocks_for(count, block), kThreads, 0, stream, values,
         count, block, sums);
}

}  // namespace phalanx
