// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "differences.hpp"

namespace phalanx::operators_test {

/// Whether every element of `found` is within tolerance * max(1, max |expected|) of `expected`, and the norm of all errors
/// within what tolerances.hpp allows. The text of a failure names the first element that is not. What was used of the
/// tolerances is remembered for report_tolerances().
testing::AssertionResult agrees(const Subject& subject, const std::string& what, const Shape& shape,
                                const Values& expected, const Values& found);

/// The same for a gradient of which the oracle knows some elements and directions. Errors of single
/// elements are independent, so along a direction they may add up like its Euclidean length.
testing::AssertionResult agrees(const Subject& subject, const std::string& what, const Shape& shape,
                                const ExpectedGradient& expected, const Values& found);

/// Whether two runs gave an output the same bytes; the text names the first element that differs.
testing::AssertionResult same_bits(const std::string& what, const KernelRun& expected,
                                   const KernelRun& found, std::size_t output);

/// Prints, for every operator and type, the largest share of its tolerances that any comparison
/// used.
void report_tolerances();

}  // namespace phalanx::operators_test
