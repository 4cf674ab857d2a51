// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "data/row_source.hpp"

namespace phalanx {

/// What the root of a data set file says.
/// Throws    IoError if it cannot be read; InvalidInput if it is no data set, naming file and
/// object.
DatasetInfo read_dataset_info(const std::string& path);

/// The splits in a data set file, in alphabetical order.
std::vector<std::string> dataset_splits(const std::string& path);

/// One split of a data set file (docs/formats.md, "Data sets"), read by row number.
///
/// A split that fits `cache_bytes` is read once, from front to back, when it is opened, and the
/// file is closed again. A larger one is served from blocks of rows of about 1 MiB, of which the
/// latest used stay in memory, `cache_bytes` in all but at least one block. The rows of one call
/// are sorted by block first, so each block is read once per call; a few rows of a block that is
/// neither in memory nor compressed are read alone. Every rank opens its own.
class Dataset : public RowSource {
 public:
  static constexpr std::size_t kDefaultCacheBytes = std::size_t{1} << 32;

  /// Throws    IoError, InvalidInput; a split that does not exist is named together with those that
  /// do.
  Dataset(const std::string& path, const std::string& split,
          std::size_t cache_bytes = kDefaultCacheBytes);
  ~Dataset() override;

  const DatasetInfo& info() const noexcept override { return info_; }
  std::int64_t size() const noexcept override { return size_; }
  std::size_t x_row_bytes() const noexcept { return x_row_bytes_; }
  std::size_t y_row_bytes() const noexcept { return y_row_bytes_; }
  bool in_memory() const noexcept { return in_memory_; }

  /// Throws    also InvalidInput for a label outside [0, classes), when the block that holds it is
  /// read.
  void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override;
  /// Rows [begin, end).
  void read_range(std::int64_t begin, std::int64_t end, std::byte* x, std::byte* y);

 private:
  struct Storage;  // the open arrays
  struct Block {
    std::int64_t index;
    std::vector<std::byte> x, y;
  };

  const Block& block(std::int64_t index);
  bool wants_block(std::int64_t index, std::size_t rows) const;
  void load(std::int64_t begin, std::int64_t end, std::byte* x, std::byte* y) const;
  void check_labels(const std::byte* y, std::int64_t begin, std::int64_t count) const;

  std::string path_;
  std::string split_;
  DatasetInfo info_;
  std::int64_t size_ = 0;
  std::size_t x_row_bytes_ = 0;
  std::size_t y_row_bytes_ = 0;
  std::unique_ptr<Storage> storage_;
  bool in_memory_ = false;
  std::int64_t block_rows_ = 0;
  std::size_t most_blocks_ = 1;
  std::list<Block> blocks_;                        // the latest used first
  std::vector<std::list<Block>::iterator> where_;  // of each block; end() while it is not in memory
};

}  // namespace phalanx
