// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "count_correct/count_correct.hpp"

namespace phalanx {

void count_correct_forward_cpu(OpContext&, Inputs in, Outputs out) {
  const std::int64_t rows = in[0].shape()[0], outputs = in[0].shape()[1];
  const auto* x = in[0].as<float>();
  std::int64_t correct = 0;
  if (in[1].type.dtype == DType::kI64) {
    const auto* label = in[1].as<std::int64_t>();
    for (std::int64_t n = 0; n < rows; ++n) {
      const float* row = x + n * outputs;
      correct += std::max_element(row, row + outputs) - row == label[n];
    }
  } else {
    const auto* target = in[1].as<float>();
    for (std::int64_t i = 0; i < rows * outputs; ++i)
      correct += (x[i] > 0.0f) == (target[i] > 0.5f);
  }
  *out[0].as<float>() = static_cast<float>(correct);
}

}  // namespace phalanx
