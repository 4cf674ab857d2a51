// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/error.hpp"
#include "data/dataset_schema.hpp"
#include "formats/h5.hpp"

namespace phalanx {
namespace {

std::vector<float> floats(const h5::File& file, const char* name, std::int64_t count) {
  const std::vector<double> values = file.doubles_attribute(name);
  if (static_cast<std::int64_t>(values.size()) != count)
    throw InvalidInput(fmt::format("{}: / attribute '{}': expected {} values, found {}",
                                   file.file_name(), name, count, values.size()));
  return {values.begin(), values.end()};
}

void check_format(const h5::File& file) {
  const std::string& name = file.file_name();
  if (!file.has_attribute(schema::kFormatAttribute))
    throw InvalidInput(fmt::format(
        "{}: not a data set: / has no attribute '{}'; make one with 'phalanx data import'", name,
        schema::kFormatAttribute));
  if (const auto format = file.string_attribute(schema::kFormatAttribute);
      format != schema::kFormat)
    throw InvalidInput(fmt::format("{}: / attribute 'format': expected '{}', found '{}'", name,
                                   schema::kFormat, format));
  if (const auto version = file.int_attribute(schema::kVersionAttribute);
      version != schema::kVersion)
    throw InvalidInput(
        fmt::format("{}: / attribute 'version': this program reads version {}, found {}", name,
                    schema::kVersion, version));
}

SampleKind parse_kind(const h5::File& file) {
  const std::string text = file.string_attribute(schema::kKind);
  if (text == "image") return SampleKind::kImage;
  if (text == "table") return SampleKind::kTable;
  throw InvalidInput(fmt::format("{}: / attribute 'kind': expected 'image' or 'table', found '{}'",
                                 file.file_name(), text));
}

void parse_target(const h5::File& file, DatasetInfo& info) {
  const std::string text = file.string_attribute(schema::kTarget);
  if (text != "class" && text != "binary" && text != "real")
    throw InvalidInput(
        fmt::format("{}: / attribute 'target': expected 'class', 'binary' or 'real', found '{}'",
                    file.file_name(), text));
  info.target = text == "class" ? TargetKind::kClass : TargetKind::kValues;
  info.binary = text == "binary";
}

std::vector<std::string> split_names(const h5::File& file) {
  std::vector<std::string> names;
  for (const std::string& name : file.names())
    if (file.exists(name + "/" + schema::kX)) names.push_back(name);
  return names;
}

// Checks one split's arrays against each other; they give the sample's shape and the number of
// targets.
void describe_arrays(const h5::File& file, const std::string& split, const h5::Dataset& x,
                     const h5::Dataset& y, DatasetInfo& info) {
  const auto bad = [&](const h5::Dataset& array, const std::string& what) {
    return InvalidInput(fmt::format("{}: {}: {}", file.file_name(), array.path(), what));
  };
  const bool image = info.kind == SampleKind::kImage;
  const int axes = image ? 4 : 2;
  if (x.shape().rank() != axes)
    throw bad(x, fmt::format("expected {} axes, found shape {}", axes, x.shape().str()));
  x.expect_dtype(image ? DType::kU8 : DType::kF32);
  const bool labels = info.target == TargetKind::kClass;
  y.expect_dtype(labels ? DType::kI64 : DType::kF32);
  if (y.shape().rank() != (labels ? 1 : 2))
    throw bad(y, fmt::format("expected {} axes, found shape {}", labels ? 1 : 2, y.shape().str()));
  if (x.rows() != y.rows())
    throw bad(y, fmt::format("{} rows, but {}/x has {}", y.rows(), split, x.rows()));
  if (x.rows() == 0 || x.row_bytes() == 0 || y.row_bytes() == 0)
    throw bad(x, fmt::format("the split is empty: shape {}", x.shape().str()));
  info.sample = Shape(x.shape().sizes().subspan(1));
  info.x_dtype = x.dtype();
  info.targets = labels ? 1 : y.shape()[1];
}

DatasetInfo describe(const h5::File& file, const std::string& split) {
  DatasetInfo info;
  info.kind = parse_kind(file);
  parse_target(file, info);
  const h5::Group group = file.open_group(split);
  describe_arrays(file, split, group.open_dataset(schema::kX), group.open_dataset(schema::kY),
                  info);
  info.class_names = file.strings_attribute(schema::kClassNames);
  info.feature_names = file.strings_attribute(schema::kFeatureNames);
  info.target_names = file.strings_attribute(schema::kTargetNames);
  info.content_sha256 = file.string_attribute(schema::kContentSha256);
  info.mean = floats(file, schema::kMean, info.sample[0]);
  info.std = floats(file, schema::kStd, info.sample[0]);
  if (info.target == TargetKind::kClass) {
    info.classes = static_cast<std::int64_t>(info.class_names.size());
    if (info.classes == 0)
      throw InvalidInput(fmt::format("{}: / attribute 'class_names': expected at least one name",
                                     file.file_name()));
  } else {
    info.target_mean = floats(file, schema::kTargetMean, info.targets);
    info.target_std = floats(file, schema::kTargetStd, info.targets);
  }
  return info;
}

}  // namespace

DatasetInfo read_dataset_info(const std::string& path) {
  const h5::File file = h5::File::open(path);
  check_format(file);
  const std::vector<std::string> splits = split_names(file);
  if (splits.empty()) throw InvalidInput(fmt::format("{}: the data set has no split", path));
  const bool has_train = std::find(splits.begin(), splits.end(), schema::kTrain) != splits.end();
  return describe(file, has_train ? schema::kTrain : splits.front());
}

std::vector<std::string> dataset_splits(const std::string& path) {
  const h5::File file = h5::File::open(path);
  check_format(file);
  return split_names(file);
}

struct Dataset::Storage {
  h5::File file;
  h5::Dataset x, y;
};

Dataset::Dataset(const std::string& path, const std::string& split, std::size_t cache_bytes)
    : path_(path), split_(split) {
  h5::File file = h5::File::open(path);
  check_format(file);
  if (!file.exists(split + "/" + schema::kX))
    throw InvalidInput(fmt::format("{}: there is no split '{}'; the file has: {}", path, split,
                                   fmt::join(split_names(file), ", ")));
  info_ = describe(file, split);
  const std::string folder = split + "/";
  h5::Dataset x = file.open_dataset(folder + schema::kX);
  h5::Dataset y = file.open_dataset(folder + schema::kY);
  storage_ = std::make_unique<Storage>(Storage{std::move(file), std::move(x), std::move(y)});
  size_ = storage_->x.rows();
  x_row_bytes_ = storage_->x.row_bytes();
  y_row_bytes_ = storage_->y.row_bytes();

  const std::size_t row_bytes = x_row_bytes_ + y_row_bytes_;
  in_memory_ = static_cast<std::size_t>(size_) <= cache_bytes / row_bytes;
  block_rows_ = storage_->x.chunk_rows();
  if (block_rows_ == 0)
    block_rows_ =
        std::max<std::int64_t>(1, schema::kBlockBytes / static_cast<std::int64_t>(x_row_bytes_));
  if (in_memory_) block_rows_ = size_;
  block_rows_ = std::min(block_rows_, size_);
  most_blocks_ =
      std::max<std::size_t>(1, cache_bytes / (row_bytes * static_cast<std::size_t>(block_rows_)));
  where_.assign(static_cast<std::size_t>((size_ + block_rows_ - 1) / block_rows_), blocks_.end());
  if (in_memory_) {
    block(0);
    storage_.reset();
  }
}

Dataset::~Dataset() = default;

void Dataset::check_labels(const std::byte* y, std::int64_t begin, std::int64_t count) const {
  if (info_.target != TargetKind::kClass) return;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t label = 0;
    std::memcpy(&label, y + i * static_cast<std::int64_t>(sizeof label), sizeof label);
    if (label < 0 || label >= info_.classes)
      throw InvalidInput(fmt::format("{}: /{}/y row {}: label {} is outside [0, {})", path_, split_,
                                     begin + i, label, info_.classes));
  }
}

void Dataset::load(std::int64_t begin, std::int64_t end, std::byte* x, std::byte* y) const {
  // In steps of a few whole blocks, so that one call never holds the library's lock for a whole
  // split.
  constexpr std::int64_t kStepBytes = 16 * schema::kBlockBytes;
  const std::int64_t chunk = std::max<std::int64_t>(1, storage_->x.chunk_rows());
  const std::int64_t chunks = kStepBytes / static_cast<std::int64_t>(x_row_bytes_) / chunk;
  const std::int64_t step = std::max<std::int64_t>(1, chunks) * chunk;
  for (std::int64_t from = begin; from < end; from += step) {
    const std::int64_t to = std::min(end, from + step);
    storage_->x.read_rows(from, to, x + static_cast<std::size_t>(from - begin) * x_row_bytes_);
    storage_->y.read_rows(from, to, y + static_cast<std::size_t>(from - begin) * y_row_bytes_);
  }
  check_labels(y, begin, end - begin);
}

const Dataset::Block& Dataset::block(std::int64_t index) {
  auto& where = where_[static_cast<std::size_t>(index)];
  if (where != blocks_.end()) {
    blocks_.splice(blocks_.begin(), blocks_, where);
    return blocks_.front();
  }
  const std::int64_t begin = index * block_rows_;
  const std::int64_t end = std::min(size_, begin + block_rows_);
  Block fresh{index, {}, {}};
  if (blocks_.size() >= most_blocks_) {  // its memory is used again
    where_[static_cast<std::size_t>(blocks_.back().index)] = blocks_.end();
    fresh = std::move(blocks_.back());
    blocks_.pop_back();
    fresh.index = index;
  }
  fresh.x.resize(static_cast<std::size_t>(end - begin) * x_row_bytes_);
  fresh.y.resize(static_cast<std::size_t>(end - begin) * y_row_bytes_);
  load(begin, end, fresh.x.data(), fresh.y.data());
  blocks_.push_front(std::move(fresh));
  where = blocks_.begin();
  return blocks_.front();
}

void Dataset::read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) {
  for (const std::int64_t row : rows)
    if (row < 0 || row >= size_)
      throw InvalidArgument(
          fmt::format("{}: /{}: row {} of {} does not exist", path_, split_, row, size_));
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (!in_memory_)
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return rows[a] < rows[b]; });
  for (std::size_t first = 0; first < order.size();) {
    const std::int64_t index = rows[order[first]] / block_rows_;
    std::size_t last = first + 1;
    while (last < order.size() && rows[order[last]] / block_rows_ == index) ++last;
    if (wants_block(index, last - first)) {
      const Block& from = block(index);
      for (std::size_t k = first; k < last; ++k) {
        const std::size_t i = order[k];
        const auto row = static_cast<std::size_t>(rows[i] % block_rows_);
        std::memcpy(x + i * x_row_bytes_, from.x.data() + row * x_row_bytes_, x_row_bytes_);
        std::memcpy(y + i * y_row_bytes_, from.y.data() + row * y_row_bytes_, y_row_bytes_);
      }
    } else {
      for (std::size_t k = first; k < last; ++k) {
        const std::size_t i = order[k];
        load(rows[i], rows[i] + 1, x + i * x_row_bytes_, y + i * y_row_bytes_);
      }
    }
    first = last;
  }
}

bool Dataset::wants_block(std::int64_t index, std::size_t rows) const {
  if (in_memory_ || where_[static_cast<std::size_t>(index)] != blocks_.end()) return true;
  // Few rows of a block that is stored as it is are cheaper to read alone; a compressed block is
  // unpacked whole anyway.
  constexpr std::size_t kFewShare = 32;
  return storage_->x.compressed() || rows * kFewShare > static_cast<std::size_t>(block_rows_);
}

void Dataset::read_range(std::int64_t begin, std::int64_t end, std::byte* x, std::byte* y) {
  if (begin < 0 || end < begin || end > size_)
    throw InvalidArgument(
        fmt::format("{}: /{}: rows [{}, {}) of {}", path_, split_, begin, end, size_));
  for (std::int64_t row = begin; row < end;) {
    const Block& from = block(row / block_rows_);
    const std::int64_t first = row % block_rows_;
    const auto count = static_cast<std::size_t>(std::min(end - row, block_rows_ - first));
    std::memcpy(x, from.x.data() + static_cast<std::size_t>(first) * x_row_bytes_,
                count * x_row_bytes_);
    std::memcpy(y, from.y.data() + static_cast<std::size_t>(first) * y_row_bytes_,
                count * y_row_bytes_);
    x += count * x_row_bytes_;
    y += count * y_row_bytes_;
    row += static_cast<std::int64_t>(count);
  }
}

}  // namespace phalanx
