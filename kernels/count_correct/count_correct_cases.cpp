// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "count_correct/count_correct.hpp"

namespace phalanx {
namespace {

void reference(const Attributes&, Types types, OpCases::Vectors in, OpCases::Vectors out) {
  const auto rows = static_cast<std::size_t>(types[0].shape[0]),
             outputs = static_cast<std::size_t>(types[0].shape[1]);
  double right = 0;
  for (std::size_t n = 0; n < rows; ++n) {
    std::size_t largest = 0;
    for (std::size_t c = 0; c < outputs; ++c) {
      const double x = in[0][n * outputs + c];
      if (x > in[0][n * outputs + largest]) largest = c;
      if (types[1].dtype == DType::kF32 && (x > 0) == (in[1][n * outputs + c] > 0.5)) ++right;
    }
    if (types[1].dtype == DType::kI64 && in[1][n] == static_cast<double>(largest)) ++right;
  }
  out[0][0] = right;
}

}  // namespace

extern const OpCases count_correct_cases;
const OpCases count_correct_cases = {
    .op = &count_correct_op,
    .reference = reference,
    .cases =
        {
            {.name = "classes",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 10}},
                                      TensorType{DType::kI64, Shape{n}}};
                 },
             .fill = {Fill::kDistinct, Fill::kLabels},
             .benchmark_n = 1 << 14},
            {.name = "ties",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 3}},
                                      TensorType{DType::kI64, Shape{n}}};
                 },
             .fill = {Fill::kZeroOrOne, Fill::kLabels}},
            {.name = "more_classes_than_lanes",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 70}},
                                      TensorType{DType::kI64, Shape{n}}};
                 },
             .fill = {Fill::kDistinct, Fill::kLabels},
             .sizes = {1, 33}},
            {.name = "yes_or_no",
             .inputs =
                 [](std::int64_t n) {
                   return std::vector{TensorType{DType::kF32, Shape{n, 2}},
                                      TensorType{DType::kF32, Shape{n, 2}}};
                 },
             .fill = {Fill::kAwayFromZero, Fill::kZeroOrOne}},
        },
    .refusals = {{.name = "no_classes",
                  .inputs = {{DType::kF32, Shape{3, 0}}, {DType::kI64, Shape{3}}},
                  .message = "C > 0"},
                 {.name = "too_few_targets",
                  .inputs = {{DType::kF32, Shape{3, 2}}, {DType::kI64, Shape{2}}},
                  .message = "target must be"}},
    .low_precision = 0,
};

}  // namespace phalanx
