// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/cases.hpp"
#include "softmax_cross_entropy/softmax_cross_entropy.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const std::int64_t rows = types[0].shape[0], classes = types[0].shape[1];
  double loss = 0;
  for (std::int64_t n = 0; n < rows; ++n) {
    double largest = in[0][n * classes], sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) largest = std::max(largest, in[0][n * classes + c]);
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(in[0][n * classes + c] - largest);
    out[1][n] = largest + std::log(sum);
    loss += out[1][n] - in[0][n * classes + static_cast<std::int64_t>(in[1][n])];
  }
  const bool mean = attributes.get_string("reduction", "sum") == "mean";
  out[0][0] = mean && rows > 0 ? loss / static_cast<double>(rows) : loss;
}

std::vector<TensorType> types(std::int64_t rows, std::int64_t classes) {
  return {{DType::kF32, Shape{rows, classes}}, {DType::kI64, Shape{rows}}};
}

}  // namespace

extern const OpCases softmax_cross_entropy_cases;
const OpCases softmax_cross_entropy_cases = {
    .op = &softmax_cross_entropy_op,
    .reference = reference,
    .cases =
        {
            {.name = "sum over ten classes",
             .inputs = [](std::int64_t n) { return types(n, 10); },
             .fill = {Fill::kNormal, Fill::kLabels},
             .benchmark_n = 4096},
            {.name = "mean over one class more than a warp",
             .attributes = {{"reduction", std::string("mean")}},
             .inputs = [](std::int64_t n) { return types(n, 33); },
             .fill = {Fill::kNormal, Fill::kLabels}},
            {.name = "many classes",
             .attributes = {{"reduction", std::string("mean")}},
             .inputs = [](std::int64_t n) { return types(3, n); },
             .fill = {Fill::kNormal, Fill::kLabels},
             .sizes = {1, 200, 1000, 1028, 1030, 17000, 17001}},
        },
    .refusals =
        {
            {.name = "labels of another length",
             .inputs = {{DType::kF32, Shape{3, 4}}, {DType::kI64, Shape{2}}},
             .message = "labels must be i64 [3]"},
            {.name = "float labels",
             .inputs = {{DType::kF32, Shape{3, 4}}, {DType::kF32, Shape{3}}},
             .message = "labels must be i64"},
            {.name = "no classes",
             .inputs = {{DType::kF32, Shape{3, 0}}, {DType::kI64, Shape{3}}},
             .message = "C > 0"},
        },
    .low_precision = 0,
};

}  // namespace phalanx
