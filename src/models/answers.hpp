// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "models/run_record.hpp"

namespace phalanx {

/// What a model is asked for. Decided by the loss it was trained with.
enum class Task : std::uint8_t {
  kClassification,  ///< softmax_cross_entropy: probabilities that add up to 1
  kBinary,          ///< binary_cross_entropy: a probability for each output
  kRegression,      ///< mean_squared_error: values in the units of the data set
};

/// Throws    InvalidInput for a loss that trains none of them.
Task task_of(std::string_view loss);
std::string_view name(Task task) noexcept;
/// Throws    InvalidInput unless it is the name of one.
Task task_from_name(std::string_view name);

/// p_i = exp(x_i - max x) / sum_j exp(x_j - max x), sums in f32. `p` may be `x`.
void softmax_row(const float* x, std::int64_t n, float* p);
/// 1 / (1 + exp(-x))
float sigmoid_of(float x) noexcept;

/// Turns logits of `rows` samples, [rows, outputs], into answers in place: by softmax_row, by sigmoid_of, or, where targets
/// were normalised, by x * target_std + target_mean.
void answer_in_place(const RunRecord& record, float* logits, std::int64_t rows);

/// The last of these: from normalised targets to the units of the data set. Does nothing where they were not normalised.
void denormalise_targets(const RunRecord& record, float* values, std::int64_t rows);

}  // namespace phalanx
