// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/row_source.hpp"
#include "formats/atomic_file.hpp"
#include "formats/h5.hpp"
#include "formats/sha256.hpp"

namespace phalanx {

/// What an importer knows about a data set once it has read all of it. Image statistics are the
/// writer's own work.
struct DatasetHeader {
  TargetKind target = TargetKind::kClass;
  bool binary = false;
  std::vector<std::string> class_names;
  std::vector<std::string> feature_names;
  std::vector<std::string> target_names;
  std::vector<double> mean, std;                ///< tables only
  std::vector<double> target_mean, target_std;  ///< kValues only
  std::string source;                           ///< for people
  std::string source_sha256;
};

/// The targets of one split: one of the two.
struct Targets {
  std::vector<std::int64_t> labels;
  std::vector<float> values;  ///< [N, K]
};

/// Mean and biased standard deviation of one column.
struct Moments {
  double mean = 0;
  double std = 0;
};
/// In two passes. Empty input gives zeros.
Moments moments(std::span<const float> values);

/// Writes a data set file in one pass over the rows of each split, with one block of rows per split
/// in memory. Splits may arrive interleaved. Nothing is left behind unless finish() returned.
class DatasetWriter {
 public:
  DatasetWriter(const std::string& path, SampleKind kind, const Shape& sample, int deflate);

  const Shape& sample() const noexcept { return sample_; }
  std::size_t row_bytes() const noexcept { return row_bytes_; }
  /// Appends whole rows.
  void append(const std::string& split, std::span<const std::byte> rows);
  std::int64_t rows(const std::string& split) const;
  /// Writes targets and header, and puts the file in its place.
  /// Throws    InvalidInput if a label is outside the class names, or rows and targets differ in
  /// number; IoError.
  void finish(const DatasetHeader& header, const std::map<std::string, Targets>& targets);

 private:
  struct Split {
    std::vector<std::byte> pending;
    std::int64_t written = 0;
    std::optional<h5::Dataset> x;
    Sha256 digest;
  };

  void flush(const std::string& name, Split& split, bool last);
  void add_to_sums(std::span<const std::byte> rows);
  std::string write_targets(const std::string& name, const Split& split,
                            const DatasetHeader& header, const Targets& targets);
  void write_header(const DatasetHeader& header, const std::string& content);

  AtomicFile target_;
  h5::File file_;
  SampleKind kind_;
  Shape sample_;
  DType dtype_;
  std::size_t row_bytes_;
  std::int64_t block_rows_;
  int deflate_;
  std::map<std::string, Split> splits_;
  std::vector<std::array<std::uint64_t, 2>>
      sums_;  // per channel of "train": of x and of x*x, exact
};

/// Names "0", "1", ... for `count` classes.
std::vector<std::string> numbered_names(std::int64_t count);

}  // namespace phalanx
