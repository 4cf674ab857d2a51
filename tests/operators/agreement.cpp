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

/// The largest share of a tolerance, and the case that used it.
struct Share {
  double largest = 0;
  std::string_view at;

  void add(double share, const Subject& subject) {
    if (share > largest) *this = {share, subject.chosen->name};
  }
};

struct Usage {
  Share elements, norm;
};

std::map<std::pair<std::string_view, Precision>, Usage>& all_usage() {
  static std::map<std::pair<std::string_view, Precision>, Usage> by_operator;
  return by_operator;
}
Usage& usage(const Subject& subject) {
  return all_usage()[{subject.op().name, subject.precision()}];
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

/// The error of many elements together. Of a few it says no more than each of them does, and one that has cancelled out to
/// little would be all of it.
class NormError {
 public:
  void add(double expected, double found) {
    if (!std::isfinite(expected) || !std::isfinite(found)) return;  // judged one by one
    error_ += (found - expected) * (found - expected);
    norm_ += expected * expected;
    count_ += expected != 0 ? 1 : 0;
  }
  /// Remembers it, and says what is wrong; empty if nothing is.
  std::string judge(const Subject& subject, const std::string& what, const Shape& shape) const {
    const double norm = std::sqrt(norm_), error = std::sqrt(error_);
    if (count_ < kFewest || norm < kSmallestNorm) return {};
    const Tolerances& allowed = tolerances(subject.precision());
    usage(subject).norm.add(error / norm / allowed.norm, subject);
    if (error <= allowed.norm * norm) return {};
    return fmt::format("{} {}: the error's norm is {:.3g} of {:.6g}, {:.3g} is allowed in {}", what,
                       shape.str(), error / norm, norm, allowed.norm, allowed.name);
  }

 private:
  static constexpr int kFewest = 8;
  double error_ = 0, norm_ = 0;
  int count_ = 0;  // of expected elements that are not zero
};

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
  NormError norm;
  std::string text;
  std::size_t bad = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    norm.add(expected[i], found[i]);
    const double share = share_of(expected[i], found[i], allowed);
    largest = std::max(largest, share);
    if (share > 1 && ++bad == 1)
      text =
          element_text(what, shape, static_cast<std::int64_t>(i), expected[i], found[i], allowed);
  }
  usage(subject).elements.add(largest, subject);
  if (bad > 0)
    return testing::AssertionFailure()
           << text << fmt::format(" ({} of {} elements are bad)", bad, expected.size());
  text = norm.judge(subject, what, shape);
  return text.empty() ? testing::AssertionSuccess() : testing::AssertionFailure() << text;
}

testing::AssertionResult agrees(const Subject& subject, const std::string& what, const Shape& shape,
                                const ExpectedGradient& expected, const Values& found) {
  double magnitude = largest_magnitude(found);
  for (const auto& [i, value] : expected.elements) magnitude = std::max(magnitude, std::abs(value));
  const double allowed = subject.tolerance() * magnitude;
  double largest = 0;
  NormError norm;
  std::string text;
  for (const auto& [i, value] : expected.elements) {
    norm.add(value, found[static_cast<std::size_t>(i)]);
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
  usage(subject).elements.add(largest, subject);
  if (text.empty()) text = norm.judge(subject, what, shape);
  return text.empty() ? testing::AssertionSuccess() : testing::AssertionFailure() << text;
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
  for (const auto& [key, used] : all_usage())
    fmt::print(
        "{:<28} {:<5} used {:>3.0f} % of the tolerance (case '{}'), {:>3.0f} % of the norm's "
        "('{}')\n",
        key.first, tolerances(key.second).name, 100 * used.elements.largest, used.elements.at,
        100 * used.norm.largest, used.norm.at);
}

}  // namespace phalanx::operators_test
