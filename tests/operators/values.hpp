// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "common/cases.hpp"

namespace phalanx::operators_test {

/// The elements of a tensor in logical (row-major) order, whatever its memory format.
using Values = std::vector<double>;

/// What is left of `value` in an element of this type.
double rounded(double value, DType dtype);

/// Writes values into memory of the type's dtype and format.
void store(const Values& values, const TensorType& type, void* to);
Values load(ConstTensorView from);

/// Random values that the type can hold exactly. `classes` bounds Fill::kLabels.
Values draw(Fill fill, const TensorType& type, std::int64_t classes, std::uint64_t seed);

/// "[3, 0, 7]": the place of a logical element.
std::string place(const Shape& shape, std::int64_t element);

}  // namespace phalanx::operators_test
