// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.hpp"

namespace phalanx {

using Ints = std::vector<std::int64_t>;
using AttributeValue = std::variant<std::int64_t, double, std::string, Ints>;

/// The constants of one node, under ONNX's names. A handful of entries, kept in the order they were given.
class Attributes {
 public:
  using Entry = std::pair<std::string, AttributeValue>;

  Attributes() = default;
  Attributes(std::initializer_list<Entry> entries) : entries_(entries) {}

  void set(std::string name, AttributeValue value);
  bool has(std::string_view name) const noexcept { return find(name) != nullptr; }

  /// The value, or the fallback if the attribute is not given.
  /// Throws    InvalidArgument if it is given with another type.
  std::int64_t get_int(std::string_view name, std::int64_t fallback) const;
  double get_float(std::string_view name, double fallback) const;
  std::string_view get_string(std::string_view name, std::string_view fallback) const;
  Ints get_ints(std::string_view name, Ints fallback) const;

  const std::vector<Entry>& entries() const noexcept { return entries_; }
  friend bool operator==(const Attributes&, const Attributes&) = default;

 private:
  const AttributeValue* find(std::string_view name) const noexcept;

  std::vector<Entry> entries_;
};

}  // namespace phalanx
