// SPDX-License-Identifier: Apache-2.0
#include "common/binary_cases.hpp"

namespace phalanx {

std::vector<OpCases::Case> binary_broadcast_cases(const std::vector<Fill>& fill) {
  const std::vector<std::int64_t> few = {0, 1, 3, 17};
  std::vector<OpCases::Case> cases = {
      {.name = "equal vectors",
       .inputs = [](std::int64_t n) { return two_f32({n}, {n}); },
       .benchmark_n = 1 << 22},
      {.name = "equal images",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 32, 3, 5}, {n, 32, 3, 5});
           },
       .sizes = few},
      {.name = "row",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 37}, {37});
           }},
      {.name = "row first",
       .inputs =
           [](std::int64_t n) {
             return two_f32({19}, {n, 19});
           }},
      {.name = "column",
       .inputs =
           [](std::int64_t n) {
             return two_f32({33, n}, {33, 1});
           }},
      {.name = "scalar",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 3}, {});
           }},
      {.name = "both stretched",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 1, 5}, {4, 1});
           }},
      {.name = "channels of images",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 32, 5, 3}, {32, 1, 1});
           },
       .benchmark_n = 256,
       .sizes = few},
      {.name = "channels per sample",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 32, 5, 3}, {n, 32, 1, 1});
           },
       .sizes = few},
      {.name = "one channel",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 32, 2, 3}, {n, 1, 2, 3});
           },
       .sizes = few},
      {.name = "pixels",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 32, 2, 3}, {2, 3});
           },
       .sizes = few},
      {.name = "planes",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 32, 2, 3}, {32, 2, 3});
           },
       .sizes = few},
      {.name = "channels without pixels",
       .inputs =
           [](std::int64_t n) {
             return two_f32({1, 32, 1, 1}, {n, 32, 2, 3});
           },
       .sizes = few},
      {.name = "image rows",
       .inputs =
           [](std::int64_t n) {
             return two_f32({n, 32, 1, 3}, {1, 32, 2, 3});
           },
       .sizes = few},
      {.name = "five axes",
       .inputs =
           [](std::int64_t n) {
             return two_f32({2, 1, 3, n, 2}, {2, 5, 1, n, 1});
           },
       .sizes = few},
  };
  for (OpCases::Case& c : cases) c.fill = fill;
  return cases;
}

std::vector<OpCases::Case> binary_cases(const std::vector<Fill>& fill) {
  std::vector<OpCases::Case> cases;
  for (OpCases::Case& c : binary_broadcast_cases(fill))
    for (std::string_view name : {"equal vectors", "both stretched", "channels of images"})
      if (c.name == name) cases.push_back(std::move(c));
  for (OpCases::Case& c : cases) c.sizes = {0, 1, 17};
  return cases;
}

std::vector<OpCases::Refusal> binary_refusals() {
  return {
      {.name = "sizes that do not broadcast",
       .inputs = two_f32({2, 3}, {2, 4}),
       .message = "do not broadcast"},
      {.name = "integers",
       .inputs = {{DType::kF32, Shape{3}}, {DType::kI64, Shape{3}}},
       .message = "floating types"},
      {.name = "one input", .inputs = {{DType::kF32, Shape{3}}}, .message = "two inputs, found 1"},
  };
}

}  // namespace phalanx
