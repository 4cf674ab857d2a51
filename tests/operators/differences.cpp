// SPDX-License-Identifier: Apache-2.0
#include "differences.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace phalanx::operators_test {
namespace {

constexpr double kStep =
    6e-6;  // about the cube root of the rounding error of double: least error of all steps

double scale_of(double x) { return std::max(1.0, std::abs(x)); }

/// Slope of L at x along `direction`, of which only [first, last) of the chosen input is not zero.
double slope(const Trial& trial, std::size_t input, const std::vector<Values>& w,
             const Values& direction, std::size_t first, std::size_t last) {
  std::vector<Values> x = trial.x();
  const auto shifted = [&](double h) {
    for (std::size_t i = first; i < last; ++i) x[input][i] = trial.x()[input][i] + h * direction[i];
    return weighted_sum(w, trial.oracle(x));
  };
  return (shifted(kStep) - shifted(-kStep)) / (2 * kStep);
}

}  // namespace

double weighted_sum(const std::vector<Values>& w, const std::vector<Values>& y) {
  double sum = 0;
  for (std::size_t k = 0; k < w.size(); ++k)
    for (std::size_t i = 0; i < w[k].size(); ++i) sum += w[k][i] * y[k][i];
  return sum;
}

ExpectedGradient differentiate_oracle(const Trial& trial, std::size_t input,
                                      const std::vector<Values>& w, double budget) {
  ExpectedGradient expected;
  const Values& x = trial.x()[input];
  if (x.empty()) return expected;
  std::mt19937_64 engine(input + 5);
  const double affordable = budget / (2 * trial.cost());
  const bool every_element = static_cast<double>(x.size()) <= affordable;
  const std::size_t elements =
      every_element ? x.size() : static_cast<std::size_t>(std::clamp(affordable, 0.0, 24.0));
  Values unit(x.size(), 0.0);
  for (std::size_t k = 0; k < elements; ++k) {
    const std::size_t i = every_element ? k : engine() % x.size();
    const double s = scale_of(x[i]);
    unit[i] = s;
    expected.elements.emplace_back(static_cast<std::int64_t>(i),
                                   slope(trial, input, w, unit, i, i + 1) / s);
    unit[i] = 0;
  }
  for (int k = 0; k < 2 && !every_element; ++k) {
    Values direction(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      direction[i] = (engine() & 1u) != 0 ? scale_of(x[i]) : -scale_of(x[i]);
    const double along = slope(trial, input, w, direction, 0, x.size());
    expected.directions.emplace_back(std::move(direction), along);
  }
  return expected;
}

}  // namespace phalanx::operators_test
