// SPDX-License-Identifier: Apache-2.0
#include "common/loss_cases.hpp"

namespace phalanx {
namespace {

std::vector<TensorType> types(std::initializer_list<std::int64_t> sizes) {
  return {{DType::kF32, Shape(sizes)}, {DType::kF32, Shape(sizes)}};
}

}  // namespace

double reduce_loss(double sum, const Attributes& attributes, const Shape& x) {
  const auto count = static_cast<double>(x.numel());
  const std::string_view reduction = attributes.get_string("reduction", "sum");
  if (count == 0) return sum;
  if (reduction == "mean") return sum / count;
  if (reduction == "row_mean_sum") return sum / count * static_cast<double>(x[0]);
  return sum;
}

std::vector<OpCases::Case> loss_cases(Fill target) {
  const std::vector<Fill> fill = {Fill::kNormal, target};
  return {
      {.name = "sum over vectors",
       .inputs = [](std::int64_t n) { return types({n}); },
       .fill = fill},
      {.name = "sum over rows of means",
       .attributes = {{"reduction", std::string("row_mean_sum")}},
       .inputs =
           [](std::int64_t n) {
             return types({n, 10});
           },
       .fill = fill,
       .benchmark_n = 1 << 18},
      {.name = "mean over images",
       .attributes = {{"reduction", std::string("mean")}},
       .inputs =
           [](std::int64_t n) {
             return types({n, 3, 4, 5});
           },
       .fill = fill,
       .sizes = {0, 1, 33}},
  };
}

std::vector<OpCases::Refusal> loss_refusals() {
  return {
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
  };
}

}  // namespace phalanx
