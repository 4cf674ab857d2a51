// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <hdf5.h>

#include <algorithm>

#include "formats/h5.hpp"
#include "formats/h5_error.hpp"

namespace phalanx::h5 {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1}
                                       << 24;  // an attribute that claims more is damaged

std::string in_attribute(const std::string& path, const std::string& name) {
  return fmt::format("{} attribute '{}'", path, name);
}

Handle open_attribute(hid_t object, const std::string& file, const std::string& path,
                      const std::string& name) {
  if (H5Aexists(object, name.c_str()) <= 0)
    throw InvalidInput(fmt::format("{}: {}: there is no attribute '{}'", file, path, name));
  Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT));
  if (!attribute) fail(file, in_attribute(path, name), "open", false);
  return attribute;
}

// Number of elements, 0 for an empty one.
std::int64_t count_elements(const Handle& attribute, const std::string& file,
                            const std::string& what) {
  const Handle space(H5Aget_space(attribute.id()));
  const hssize_t count = space ? H5Sget_simple_extent_npoints(space.id()) : -1;
  if (count < 0 || count > kMostElements)
    throw InvalidInput(fmt::format("{}: {}: impossible number of elements {}", file, what, count));
  return count;
}

// A scalar if `count` is negative, else a list.
void write(hid_t object, const std::string& file, const std::string& path, const std::string& name,
           hid_t stored_type, hid_t given_type, const void* values, std::int64_t count) {
  const auto size = static_cast<hsize_t>(count);
  const Handle space(count < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &size, nullptr));
  if (H5Aexists(object, name.c_str()) > 0) H5Adelete(object, name.c_str());
  const Handle attribute(
      H5Acreate2(object, name.c_str(), stored_type, space.id(), H5P_DEFAULT, H5P_DEFAULT));
  if (!attribute || (count != 0 && H5Awrite(attribute.id(), given_type, values) < 0))
    fail(file, in_attribute(path, name), "write", true);
}

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  return type;
}

template <class T>
std::vector<T> read_numbers(hid_t object, const std::string& file, const std::string& path,
                            const std::string& name, hid_t type, H5T_class_t expected) {
  const Handle attribute = open_attribute(object, file, path, name);
  const std::string what = in_attribute(path, name);
  const Handle stored(H5Aget_type(attribute.id()));
  const H5T_class_t kind = H5Tget_class(stored.id());
  if (kind != expected && !(kind == H5T_INTEGER && expected == H5T_FLOAT))
    throw InvalidInput(fmt::format("{}: {}: expected {}", file, what,
                                   expected == H5T_INTEGER ? "integers" : "numbers"));
  std::vector<T> values(static_cast<std::size_t>(count_elements(attribute, file, what)));
  if (!values.empty() && H5Aread(attribute.id(), type, values.data()) < 0)
    fail(file, what, "read", false);
  return values;
}

std::vector<std::string> read_variable_texts(const Handle& attribute, std::size_t count,
                                             const std::string& file, const std::string& what) {
  std::vector<char*> pointers(count, nullptr);
  const Handle type = text_type();
  const Handle stored(H5Aget_type(attribute.id()));
  H5Tset_cset(type.id(), H5Tget_cset(stored.id()));
  if (count != 0 && H5Aread(attribute.id(), type.id(), pointers.data()) < 0)
    fail(file, what, "read", false);
  std::vector<std::string> texts;
  for (char* pointer : pointers) {
    texts.emplace_back(pointer == nullptr ? "" : pointer);
    H5free_memory(pointer);
  }
  return texts;
}

std::vector<std::string> read_fixed_texts(const Handle& attribute, const Handle& stored,
                                          std::size_t count, const std::string& file,
                                          const std::string& what) {
  const std::size_t width = H5Tget_size(stored.id());
  if (width > static_cast<std::size_t>(kMostElements))
    throw InvalidInput(fmt::format("{}: {}: impossible text length {}", file, what, width));
  std::vector<char> bytes(count * width);
  if (!bytes.empty() && H5Aread(attribute.id(), stored.id(), bytes.data()) < 0)
    fail(file, what, "read", false);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) {
    const char* begin = bytes.data() + i * width;
    texts.emplace_back(begin, std::find(begin, begin + width, '\0'));
  }
  return texts;
}

template <class T>
T only(const std::vector<T>& values, const std::string& file, const std::string& path,
       const std::string& name) {
  if (values.size() != 1)
    throw InvalidInput(fmt::format("{}: {}: expected one value, found {}", file,
                                   in_attribute(path, name), values.size()));
  return values.front();
}

}  // namespace

bool Object::has_attribute(const std::string& name) const {
  Lock lock;
  return H5Aexists(handle_.id(), name.c_str()) > 0;
}

void Object::write_attribute(const std::string& name, std::string_view value) {
  Lock lock;
  const std::string text(value);
  const char* pointer = text.c_str();
  const Handle type = text_type();
  write(handle_.id(), file_name(), path_, name, type.id(), type.id(), &pointer, -1);
}

void Object::write_attribute(const std::string& name, std::int64_t value) {
  Lock lock;
  write(handle_.id(), file_name(), path_, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value, -1);
}

void Object::write_attribute(const std::string& name, double value) {
  Lock lock;
  write(handle_.id(), file_name(), path_, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value, -1);
}

void Object::write_attribute(const std::string& name, std::span<const std::int64_t> values) {
  Lock lock;
  write(handle_.id(), file_name(), path_, name, H5T_STD_I64LE, H5T_NATIVE_INT64, values.data(),
        static_cast<std::int64_t>(values.size()));
}

void Object::write_attribute(const std::string& name, std::span<const double> values) {
  Lock lock;
  write(handle_.id(), file_name(), path_, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, values.data(),
        static_cast<std::int64_t>(values.size()));
}

void Object::write_attribute(const std::string& name, std::span<const std::string> values) {
  Lock lock;
  std::vector<const char*> pointers;
  for (const std::string& value : values) pointers.push_back(value.c_str());
  const Handle type = text_type();
  write(handle_.id(), file_name(), path_, name, type.id(), type.id(), pointers.data(),
        static_cast<std::int64_t>(values.size()));
}

std::vector<std::string> Object::strings_attribute(const std::string& name) const {
  Lock lock;
  const Handle attribute = open_attribute(handle_.id(), file_name(), path_, name);
  const std::string what = in_attribute(path_, name);
  const auto count = static_cast<std::size_t>(count_elements(attribute, file_name(), what));
  const Handle stored(H5Aget_type(attribute.id()));
  if (count == 0) return {};
  if (H5Tget_class(stored.id()) != H5T_STRING)
    throw InvalidInput(fmt::format("{}: {}: expected text", file_name(), what));
  return H5Tis_variable_str(stored.id()) > 0
             ? read_variable_texts(attribute, count, file_name(), what)
             : read_fixed_texts(attribute, stored, count, file_name(), what);
}

std::string Object::string_attribute(const std::string& name) const {
  return only(strings_attribute(name), file_name(), path_, name);
}

std::vector<std::int64_t> Object::ints_attribute(const std::string& name) const {
  Lock lock;
  return read_numbers<std::int64_t>(handle_.id(), file_name(), path_, name, H5T_NATIVE_INT64,
                                    H5T_INTEGER);
}

std::vector<double> Object::doubles_attribute(const std::string& name) const {
  Lock lock;
  return read_numbers<double>(handle_.id(), file_name(), path_, name, H5T_NATIVE_DOUBLE, H5T_FLOAT);
}

std::int64_t Object::int_attribute(const std::string& name) const {
  return only(ints_attribute(name), file_name(), path_, name);
}

double Object::double_attribute(const std::string& name) const {
  return only(doubles_attribute(name), file_name(), path_, name);
}

}  // namespace phalanx::h5
