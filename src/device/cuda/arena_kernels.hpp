// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "core/dtype.hpp"
#include "device/backend.hpp"

namespace phalanx {

/// What DeviceBackend promises under these names, for every backend whose kernels are CUDA sources.
void convert_on_device(DType from_type, const void* from, DType to_type, void* to,
                       std::int64_t count, BackendStream& stream);
void round_with_feedback_on_device(const float* values, float* kept, void* rounded,
                                   std::int64_t count, BackendStream& stream);
void combine_on_device(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
                       std::int64_t count, BackendStream& stream);
void sum_squares_on_device(const float* values, std::int64_t count, std::int64_t block,
                           double* sums, BackendStream& stream);

void scale_on_device(float* values, float factor, std::int64_t count, BackendStream& stream);
void judge_step_on_device(const StepLimits* limits, const double* sums, std::int64_t count,
                          const float* loss, StepVerdict* verdict, BackendStream& stream);

/// The operator's kernels; null if it has none. Generated from kernels/CMakeLists.txt.
const void* cuda_kernels(std::string_view operator_name) noexcept;

}  // namespace phalanx
