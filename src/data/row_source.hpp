// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.hpp"
#include "core/shape.hpp"

namespace phalanx {

enum class SampleKind : std::uint8_t {
  kImage,  ///< [C, H, W]
  kTable,  ///< [F]
};

enum class TargetKind : std::uint8_t {
  kClass,   ///< one i64 per row in [0, classes)
  kValues,  ///< K f32 per row
};

/// What is known about the rows of one split. Statistics are those of the training split, computed
/// in double. `mean` and `std` are per channel [C] or per feature [F]; for kU8 in units of x/255.
struct DatasetInfo {
  SampleKind kind = SampleKind::kTable;
  TargetKind target = TargetKind::kClass;
  Shape sample;                            ///< of one row: [C, H, W] or [F]
  DType x_dtype = DType::kF32;             ///< as stored and as read_rows gives it: kU8 or kF32
  std::int64_t classes = 0;                ///< kClass: number of classes; 0 for kValues
  std::int64_t targets = 1;                ///< K, values of y per row; 1 for kClass
  std::vector<std::string> class_names;    ///< empty or `classes` names
  std::vector<std::string> feature_names;  ///< empty or F names
  std::vector<float> mean;                 ///< empty: unknown
  std::vector<float> std;                  ///< as mean; 0 where a channel or feature never varies
  std::vector<float> target_mean;          ///< [K] for kValues, otherwise empty
  std::vector<float> target_std;           ///< as target_mean
  std::string content_sha256;              ///< hex, of the whole data set: docs/formats.md
  bool binary = false;                     ///< kValues: every value is 0 or 1
  std::vector<std::string> target_names;   ///< kValues: empty or K names
};

/// Rows that can be read by number: a split of a data set.
class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual const DatasetInfo& info() const noexcept = 0;
  virtual std::int64_t size() const noexcept = 0;
  /// Copies the rows with these numbers, in this order, repeats allowed: `x` gets rows.size()
  /// samples of x_dtype, row-major; `y` gets rows.size() i64 (kClass) or rows.size() * K f32
  /// (kValues). One thread at a time.
  /// Throws    InvalidArgument for a row outside [0, size()); IoError.
  virtual void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) = 0;

 protected:
  RowSource() = default;
  RowSource(const RowSource&) = default;
  RowSource& operator=(const RowSource&) = default;
};

}  // namespace phalanx
