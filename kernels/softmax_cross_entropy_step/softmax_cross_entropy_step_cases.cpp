// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/cases.hpp"
#include "softmax_cross_entropy_step/softmax_cross_entropy_step.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const std::int64_t rows = types[0].shape[0], classes = types[0].shape[1];
  const bool mean = attributes.get_string("reduction", "sum") == "mean" && rows > 0;
  const double scale = mean ? 1 / static_cast<double>(rows) : 1;
  out[0][0] = out[1][0] = 0;
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* x = in[0].data() + n * classes;
    const auto label = static_cast<std::int64_t>(in[1][n]);
    std::int64_t first_largest = 0;
    for (std::int64_t c = 1; c < classes; ++c)
      if (x[c] > x[first_largest]) first_largest = c;
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - x[first_largest]);
    out[0][0] += scale * (x[first_largest] - x[label] + std::log(sum));
    out[1][0] += first_largest == label ? 1 : 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      const double p = std::exp(x[c] - x[first_largest]) / sum;
      out[2][n * classes + c] = in[2][0] * scale * (p - (c == label ? 1 : 0));
    }
  }
}

std::vector<TensorType> types(std::int64_t rows, std::int64_t classes) {
  return {{DType::kF32, Shape{rows, classes}}, {DType::kI64, Shape{rows}}, {DType::kF32, Shape{}}};
}

const std::vector<Fill> kNormal{Fill::kNormal, Fill::kLabels, Fill::kNormal};

}  // namespace

extern const OpCases softmax_cross_entropy_step_cases;
const OpCases softmax_cross_entropy_step_cases = {
    .op = &softmax_cross_entropy_step_op,
    .reference = reference,
    .cases =
        {
            {.name = "ten classes",
             .inputs = [](std::int64_t n) { return types(n, 10); },
             .fill = kNormal,
             .benchmark_n = 4096},
            {.name = "mean over one class more than a warp",
             .attributes = {{"reduction", std::string("mean")}},
             .inputs = [](std::int64_t n) { return types(n, 33); },
             .fill = kNormal},
            {.name = "many classes",
             .inputs = [](std::int64_t n) { return types(3, n); },
             .fill = kNormal,
             .sizes = {1, 200, 257, 1000, 1028, 1030, 17000, 17001}},
            {.name = "equal values",
             .inputs = [](std::int64_t n) { return types(n, 4); },
             .fill = {Fill::kZeroOrOne, Fill::kLabels, Fill::kNormal}},
            {.name = "equal values in long rows",
             .inputs = [](std::int64_t n) { return types(40, n); },
             .fill = {Fill::kZeroOrOne, Fill::kLabels, Fill::kNormal},
             .sizes = {2, 300}},
        },
    .refusals =
        {
            {.name = "labels of another length",
             .inputs = {{DType::kF32, Shape{3, 4}},
                        {DType::kI64, Shape{2}},
                        {DType::kF32, Shape{}}},
             .message = "labels must be i64 [3]"},
            {.name = "no classes", .inputs = types(3, 0), .message = "C > 0"},
            {.name = "a seed for every row",
             .inputs = {{DType::kF32, Shape{3, 4}},
                        {DType::kI64, Shape{3}},
                        {DType::kF32, Shape{3}}},
             .message = "dloss must be an f32 scalar"},
            {.name = "another reduction",
             .attributes = {{"reduction", std::string("none")}},
             .inputs = types(3, 4),
             .message = "sum or mean, found 'none'"},
        },
    .low_precision = 0,
};

}  // namespace phalanx
