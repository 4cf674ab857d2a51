// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_problem.hpp"

#include <fmt/format.h>

namespace phalanx {
namespace {

/// Drops axes of 1, and joins neighbours of which the outer one continues the inner one in every operand.
GemmAxes merged(const GemmAxes& axes, bool has_d) {
  GemmAxes merged;
  for (int i = 0; i < axes.used; ++i) {
    const GemmAxis& inner = axes.axis[static_cast<std::size_t>(i)];
    if (inner.count == 1) continue;
    if (merged.used > 0) {
      GemmAxis& outer = merged.axis[static_cast<std::size_t>(merged.used - 1)];
      const auto continues = [&](std::int64_t outer_step, std::int64_t step) {
        return outer_step == step * inner.count;
      };
      if (continues(outer.a, inner.a) && continues(outer.b, inner.b) &&
          (!has_d || continues(outer.d, inner.d))) {
        outer = {outer.count * inner.count, inner.a, inner.b, inner.d};
        continue;
      }
    }
    merged.add(inner);
  }
  return merged;
}

}  // namespace

GemmProblem simplified(GemmProblem p) {
  p.batches = merged(p.batches, true);
  p.sums = merged(p.sums, false);
  while (p.batches.used > 0) {
    const GemmAxis& inner = p.batches.axis[static_cast<std::size_t>(p.batches.used - 1)];
    const bool below = p.a_along_k && inner.a == p.m * p.a_stride && inner.b == 0 &&
                       inner.d == p.m * p.d_stride && (!p.has_c || p.c_row == 0);
    if (!below) break;
    p.m *= inner.count;
    --p.batches.used;
  }
  while (p.sums.used > 0) {
    const GemmAxis& inner = p.sums.axis[static_cast<std::size_t>(p.sums.used - 1)];
    const bool continues_k =
        !p.a_along_k && !p.b_along_k && inner.a == p.k * p.a_stride && inner.b == p.k * p.b_stride;
    if (!continues_k) break;
    p.k *= inner.count;
    --p.sums.used;
  }
  return p;
}

std::string description(const GemmProblem& p) {
  std::string text = fmt::format("{}x{}x{} {}{}->{} {}{} {} {} {}{}{}", p.m, p.n, p.k, name(p.type),
                                 p.tf32 ? "(tf32)" : "", name(p.out_type), p.a_along_k ? 'k' : 'm',
                                 p.b_along_k ? 'k' : 'n', p.a_stride, p.b_stride, p.d_stride,
                                 p.has_c ? fmt::format(" c {} {}", p.c_row, p.c_column) : "",
                                 p.relu ? " relu" : "");
  for (const GemmAxes* axes : {&p.batches, &p.sums}) {
    for (int i = 0; i < axes->used; ++i) {
      const GemmAxis& x = axes->axis[static_cast<std::size_t>(i)];
      text += fmt::format("{}{}:{}:{}:{}", axes == &p.sums ? " +" : " *", x.count, x.a, x.b, x.d);
    }
  }
  return text;
}

}  // namespace phalanx
