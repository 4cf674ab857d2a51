// SPDX-License-Identifier: Apache-2.0
#include "agreement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

namespace phalanx::operators_test {
namespace {

struct Usage {
  double largest_share = 0;
  std::string_view at;
};

std::map<std::pair<std::string_view, DType>, Usage>& usage() {
  static std::map<std::pair<std::string_view, DType>, Usage> by_operator;
  return by_operator;
}

void remember(const Subject& subject, double share) {
  Usage& u = usage()[{subject.op().name, subject.dtype}];
  if (share > u.largest_share) u = {share, subject.chosen->name};
}

/// |found - expected| / allowed; infinite if only one of the two is a number.
double share_of(double expected, double found, double allowed) {
  if (std::isnan(expected) && std::isnan(found)) return 0;
  if (expected == found) return 0;
  const double error = std::abs(found - expected);
  return std::isfinite(error) ? error / allowed : std::numeric_limits<double>::infinity();
}

double largest_magnitude(const Values& values) {
  double largest = 1;
  for (double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  return largest;
}

std::string element_text(const std::string& what, const Shape& shape, std::int64_t i,
                         double expected, double found, double allowed) {
  return fmt::format(
      "{} {}: first bad element {}: expected {:.9g}, found {:.9g}, off by {:.3g} where {:.3g} is "
      "allowed",
      what, shape.str(), place(shape, i), expected, found, std::abs(found - expected), allowed);
}

}  // namespace

testing::AssertionResult agrees(const Subject& subject, const std::string& what, const Shape& shape,
                                const Values& expected, const Values& found) {
  const double allowed = subject.tolerance() * largest_magnitude(expected);
  double largest = 0;
  std::string text;
  std::size_t bad = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double share = share_of(expected[i], found[i], allowed);
    largest = std::max(largest, share);
    if (share > 1 && ++bad == 1)
      text =
          element_text(what, shape, static_cast<std::int64_t>(i), expected[i], found[i], allowed);
  }
  remember(subject, largest);
  if (bad == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << text << fmt::format(" ({} of {} elements are bad)", bad, expected.size());
}

testing::AssertionResult agrees(const Subject& subject, const std::string& what, const Shape& shape,
                                const ExpectedGradient& expected, const Values& found) {
  double magnitude = largest_magnitude(found);
  for (const auto& [i, value] : expected.elements) magnitude = std::max(magnitude, std::abs(value));
  const double allowed = subject.tolerance() * magnitude;
  double largest = 0;
  std::string text;
  for (const auto& [i, value] : expected.elements) {
    const double share = share_of(value, found[static_cast<std::size_t>(i)], allowed);
    largest = std::max(largest, share);
    if (share > 1 && text.empty())
      text = element_text(what, shape, i, value, found[static_cast<std::size_t>(i)], allowed);
  }
  for (const auto& [direction, slope] : expected.directions) {
    double along = 0, length = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      along += direction[i] * found[i];
      length += direction[i] * direction[i];
    }
    const double share = share_of(slope, along, allowed * 2 * std::sqrt(length));
    largest = std::max(largest, share);
    if (share > 1 && text.empty())
      text = fmt::format(
          "{} {}: slope along a random direction: expected {:.9g}, found {:.9g}, {:.3g} is allowed",
          what, shape.str(), slope, along, allowed * 2 * std::sqrt(length));
  }
  remember(subject, largest);
  if (text.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << text;
}

testing::AssertionResult same_bits(const std::string& what, const KernelRun& expected,
                                   const KernelRun& found, std::size_t output) {
  const auto a = expected.output_bytes(output), b = found.output_bytes(output);
  if (std::ranges::equal(a, b)) return testing::AssertionSuccess();
  const Values x = expected.output(output), y = found.output(output);
  const TensorType& type = expected.output_type(output);
  std::size_t differing = 0, first = 0;
  for (std::size_t i = x.size(); i-- > 0;)
    if (std::memcmp(&x[i], &y[i], sizeof(double)) != 0) first = i, ++differing;
  return testing::AssertionFailure() << fmt::format(
             "{}, {}: first differing element {}: expected {:.9g}, found {:.9g} ({} of {} elements "
             "differ)",
             what, type.str(), place(type.shape, static_cast<std::int64_t>(first)), x[first],
             y[first], differing, x.size());
}

void report_tolerances() {
  for (const auto& [key, used] : usage())
    fmt::print("{:<28} {:<5} used {:>3.0f} % of the tolerance (case '{}')\n", key.first,
               name(key.second), 100 * used.largest_share, used.at);
}

}  // namespace phalanx::operators_test
