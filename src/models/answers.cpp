// SPDX-License-Identifier: Apache-2.0
#include "models/answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace phalanx {
namespace {

struct Row {
  Task task;
  std::string_view name, loss;
};
constexpr Row kTasks[] = {{Task::kClassification, "classification", "softmax_cross_entropy"},
                          {Task::kBinary, "binary", "binary_cross_entropy"},
                          {Task::kRegression, "regression", "mean_squared_error"}};

}  // namespace

Task task_of(std::string_view loss) {
  for (const Row& row : kTasks)
    if (row.loss == loss) return row.task;
  throw InvalidInput(fmt::format("no task is known for the loss '{}'", loss));
}

std::string_view name(Task task) noexcept { return kTasks[static_cast<std::size_t>(task)].name; }

Task task_from_name(std::string_view name) {
  for (const Row& row : kTasks)
    if (row.name == name) return row.task;
  throw InvalidInput(
      fmt::format("expected classification, binary or regression, found '{}'", name));
}

void softmax_row(const float* x, std::int64_t n, float* p) {
  const float largest = *std::max_element(x, x + n);
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += p[i] = std::exp(x[i] - largest);
  for (std::int64_t i = 0; i < n; ++i) p[i] /= sum;
}

float sigmoid_of(float x) noexcept { return 1.0f / (1.0f + std::exp(-x)); }

void denormalise_targets(const RunRecord& record, float* values, std::int64_t rows) {
  if (!record.normalise_targets) return;
  const std::size_t outputs = record.target_mean.size();
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows) * outputs; ++i) {
    const std::size_t k = i % outputs;
    const float scale = record.target_std[k] == 0.0f ? 1.0f : record.target_std[k];
    values[i] = values[i] * scale + record.target_mean[k];
  }
}

void answer_in_place(const RunRecord& record, float* logits, std::int64_t rows) {
  const std::int64_t outputs = record.model.outputs;
  switch (task_of(record.loss)) {
    case Task::kClassification:
      for (std::int64_t i = 0; i < rows; ++i)
        softmax_row(logits + i * outputs, outputs, logits + i * outputs);
      return;
    case Task::kBinary:
      for (std::int64_t i = 0; i < rows * outputs; ++i) logits[i] = sigmoid_of(logits[i]);
      return;
    case Task::kRegression: return denormalise_targets(record, logits, rows);
  }
}

}  // namespace phalanx
