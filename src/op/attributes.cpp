// SPDX-License-Identifier: Apache-2.0
#include "op/attributes.hpp"

#include <fmt/format.h>

namespace phalanx {
namespace {

template <class T>
const T& typed(const AttributeValue& value, std::string_view name) {
  const T* p = std::get_if<T>(&value);
  if (p == nullptr) throw InvalidArgument(fmt::format("attribute '{}' has the wrong type", name));
  return *p;
}

}  // namespace

const AttributeValue* Attributes::find(std::string_view name) const noexcept {
  for (const Entry& e : entries_)
    if (e.first == name) return &e.second;
  return nullptr;
}

void Attributes::set(std::string name, AttributeValue value) {
  for (Entry& e : entries_) {
    if (e.first == name) {
      e.second = std::move(value);
      return;
    }
  }
  entries_.emplace_back(std::move(name), std::move(value));
}

std::int64_t Attributes::get_int(std::string_view name, std::int64_t fallback) const {
  const AttributeValue* v = find(name);
  return v == nullptr ? fallback : typed<std::int64_t>(*v, name);
}

double Attributes::get_float(std::string_view name, double fallback) const {
  const AttributeValue* v = find(name);
  return v == nullptr ? fallback : typed<double>(*v, name);
}

std::string_view Attributes::get_string(std::string_view name, std::string_view fallback) const {
  const AttributeValue* v = find(name);
  return v == nullptr ? fallback : std::string_view(typed<std::string>(*v, name));
}

Ints Attributes::get_ints(std::string_view name, Ints fallback) const {
  const AttributeValue* v = find(name);
  return v == nullptr ? fallback : typed<Ints>(*v, name);
}

}  // namespace phalanx
