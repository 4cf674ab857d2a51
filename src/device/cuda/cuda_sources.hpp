// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device/backend.hpp"
#include "device/cuda/arena_kernels.hpp"

namespace phalanx {

/// What a backend has whose kernels are the CUDA sources of this program, wherever they run.
class CudaSources : public DeviceBackend {
 public:
  void convert(DType from_type, const void* from, DType to_type, void* to, std::int64_t count,
               void* stream) final {
    convert_on_device(from_type, from, to_type, to, count, of(stream));
  }
  void scale(float* values, float factor, std::int64_t count, void* stream) final {
    scale_on_device(values, factor, count, of(stream));
  }
  void judge_step(const StepLimits* limits, const double* sums, std::int64_t count,
                  const float* loss, StepVerdict* verdict, void* stream) final {
    judge_step_on_device(limits, sums, count, loss, verdict, of(stream));
  }
  void round_with_feedback(const float* values, float* kept, void* rounded, std::int64_t count,
                           void* stream) final {
    round_with_feedback_on_device(values, kept, rounded, count, of(stream));
  }
  void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
               std::int64_t count, void* stream) final {
    combine_on_device(op, type, inputs, output, count, of(stream));
  }
  void sum_squares(const float* values, std::int64_t count, std::int64_t block, double* sums,
                   void* stream) final {
    sum_squares_on_device(values, count, block, sums, of(stream));
  }

  const void* kernels(std::string_view operator_name) const noexcept final {
    return cuda_kernels(operator_name);
  }

 private:
  static BackendStream& of(void* stream) { return *static_cast<BackendStream*>(stream); }
};

}  // namespace phalanx
