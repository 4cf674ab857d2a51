// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/cases.hpp"
#include "common/loss.hpp"
#include "mean_squared_error/mean_squared_error.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  double sum = 0;
  for (std::size_t i = 0; i < in[0].size(); ++i) {
    const double x = in[0][i], target = in[1][i];
    sum += (x - target) * (x - target);
  }
  const auto count = static_cast<double>(in[0].size()),
             rows = static_cast<double>(types[0].shape[0]);
  const std::string_view reduction = attributes.get_string("reduction", "sum");
  if (count > 0 && reduction == "mean") sum /= count;
  if (count > 0 && reduction == "row_mean_sum") sum /= count / rows;
  out[0][0] = sum;
}

std::vector<TensorType> types(std::initializer_list<std::int64_t> sizes) {
  return {{DType::kF32, Shape(sizes)}, {DType::kF32, Shape(sizes)}};
}

}  // namespace

extern const OpCases mean_squared_error_cases;
const OpCases mean_squared_error_cases = {
    .op = &mean_squared_error_op,
    .reference = reference,
    .cases =
        {
            {.name = "sum over vectors", .inputs = [](std::int64_t n) { return types({n}); }},
            {.name = "sum over rows of means",
             .attributes = {{"reduction", std::string("row_mean_sum")}},
             .inputs =
                 [](std::int64_t n) {
                   return types({n, 10});
                 },
             .benchmark_n = 1 << 18},
            {.name = "mean over images",
             .attributes = {{"reduction", std::string("mean")}},
             .inputs =
                 [](std::int64_t n) {
                   return types({n, 3, 4, 5});
                 },
             .sizes = {0, 1, 33}},
        },
    .refusals =
        {
            {.name = "a target of another shape",
             .inputs = {{DType::kF32, Shape{3, 4}}, {DType::kF32, Shape{3}}},
             .message = "target must be f32 [3, 4]"},
            {.name = "integers for a target",
             .inputs = {{DType::kF32, Shape{3}}, {DType::kI64, Shape{3}}},
             .message = "target must be f32 [3]"},
            {.name = "a scalar", .inputs = types({}), .message = "rank 1 or more"},
            {.name = "another reduction",
             .attributes = {{"reduction", std::string("none")}},
             .inputs = types({3}),
             .message = "row_mean_sum, found 'none'"},
        },
    .low_precision = 0,
};

}  // namespace phalanx
