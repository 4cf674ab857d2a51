// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/shape.hpp"
#include "data/import_bytes.hpp"

namespace phalanx {

/// An idx file of unsigned bytes, the format of MNIST: 0, 0, type 8, number of axes, sizes as
/// big-endian u32, data.
///
/// Throws    InvalidInput naming the file for another magic, a size that overflows, data cut short or left over.
/// Source    LeCun, Cortes, Burges: The MNIST database, file formats.
class IdxReader {
 public:
  explicit IdxReader(std::unique_ptr<ByteSource> bytes);

  const std::string& name() const noexcept { return bytes_->name(); }
  const Shape& shape() const noexcept { return shape_; }
  /// The next out.size() bytes of data.
  void read(std::span<std::byte> out);
  /// Nothing may be left over.
  void finish();

 private:
  std::unique_ptr<ByteSource> bytes_;
  Shape shape_;
  std::int64_t done_ = 0;
};

struct IdxArray {
  Shape shape;
  std::vector<std::byte> data;
};

/// A whole idx file, plain or packed, that lies in memory.
IdxArray parse_idx(std::span<const std::byte> bytes, const std::string& name);

}  // namespace phalanx
