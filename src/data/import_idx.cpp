// SPDX-License-Identifier: Apache-2.0
#include "data/import_idx.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/dataset_schema.hpp"
#include "data/import_sources.hpp"
#include "data/import_writer.hpp"

namespace phalanx {
namespace {

// Under the names MNIST and its successors use; empty if there is none.
std::string find_mnist_file(const std::string& folder, const std::string& prefix, const char* kind,
                            int axes) {
  for (const char* form :
       {"{}-{}-idx{}-ubyte.gz", "{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte.gz", "{}-{}.idx{}-ubyte"}) {
    const std::string path = folder + "/" + fmt::format(fmt::runtime(form), prefix, kind, axes);
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

struct IdxSplit {
  std::string name, images, labels;
};

std::vector<IdxSplit> idx_splits(const ImportOptions& options) {
  std::vector<IdxSplit> splits;
  for (const std::string& text : options.idx) {
    const auto equals = text.find('=');
    const auto comma = text.find(',', equals == std::string::npos ? 0 : equals);
    if (equals == std::string::npos || comma == std::string::npos)
      throw ConfigError(
          fmt::format("idx: expected split=images-file,labels-file, found '{}'", text));
    splits.push_back({text.substr(0, equals), text.substr(equals + 1, comma - equals - 1),
                      text.substr(comma + 1)});
  }
  if (!splits.empty()) return splits;
  for (const auto& [name, prefix] :
       {std::pair{schema::kTrain, "train"}, std::pair{schema::kTest, "t10k"}}) {
    IdxSplit split{name, find_mnist_file(options.input, prefix, "images", 3),
                   find_mnist_file(options.input, prefix, "labels", 1)};
    if (split.images.empty() || split.labels.empty())
      throw IoError(fmt::format("{}: expected {}-{}-idx{}-ubyte, plain or .gz, in this folder",
                                options.input, prefix, split.images.empty() ? "images" : "labels",
                                split.images.empty() ? 3 : 1));
    splits.push_back(std::move(split));
  }
  return splits;
}

std::vector<std::int64_t> read_labels(const std::string& path) {
  IdxReader reader(open_bytes(path));
  if (reader.shape().rank() != 1)
    throw InvalidInput(
        fmt::format("{}: labels have 1 axis, found shape {}", path, reader.shape().str()));
  std::vector<std::int64_t> labels;
  std::array<std::byte, 4096> piece{};
  for (std::int64_t left = reader.shape().numel(); left > 0;) {
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(left, piece.size()));
    reader.read(std::span(piece).first(n));
    for (std::size_t i = 0; i < n; ++i) labels.push_back(std::to_integer<std::int64_t>(piece[i]));
    left -= static_cast<std::int64_t>(n);
  }
  reader.finish();
  return labels;
}

// [N, H, W] is N grey images; [N, C, H, W] has its channels named.
Shape sample_shape(const IdxReader& images) {
  const Shape& all = images.shape();
  if (all.rank() == 3) return {1, all[1], all[2]};
  if (all.rank() == 4 && (all[1] == 1 || all[1] == 3)) return {all[1], all[2], all[3]};
  throw InvalidInput(
      fmt::format("{}: images have shape [N, H, W] or [N, C, H, W] with C = 1 or 3, found {}",
                  images.name(), all.str()));
}

void copy_images(IdxReader& images, const std::string& split, DatasetWriter& writer) {
  if (sample_shape(images) != writer.sample())
    throw InvalidInput(fmt::format("{}: images of another size: expected {}, found {}",
                                   images.name(), writer.sample().str(),
                                   sample_shape(images).str()));
  const auto row = static_cast<std::int64_t>(writer.row_bytes());
  const std::int64_t step = std::max<std::int64_t>(1, schema::kBlockBytes / row);
  std::vector<std::byte> rows(static_cast<std::size_t>(step * row));
  for (std::int64_t done = 0; done < images.shape()[0];) {
    const std::int64_t n = std::min(step, images.shape()[0] - done);
    const auto part = std::span(rows).first(static_cast<std::size_t>(n * row));
    images.read(part);
    writer.append(split, part);
    done += n;
  }
  images.finish();
}

}  // namespace

IdxReader::IdxReader(std::unique_ptr<ByteSource> bytes) : bytes_(std::move(bytes)) {
  const auto bad = [this](const std::string& what) {
    return InvalidInput(fmt::format("{}: {}", name(), what));
  };
  std::array<std::byte, 4> magic{};
  if (read_up_to(*bytes_, magic) != magic.size())
    throw bad("an idx file starts with four bytes; the file is shorter");
  const auto value = [&](int i) { return std::to_integer<unsigned>(magic[i]); };
  if (value(0) != 0 || value(1) != 0 || value(2) != 8 || value(3) == 0 ||
      value(3) > Shape::kMaxRank)
    throw bad(fmt::format(
        "expected the idx magic 00 00 08 and 1 to {} axes, found {:02x} {:02x} {:02x} {:02x}",
        Shape::kMaxRank, value(0), value(1), value(2), value(3)));
  std::vector<std::int64_t> sizes;
  for (unsigned axis = 0; axis < value(3); ++axis) {
    std::array<std::byte, 4> word{};
    if (read_up_to(*bytes_, word) != word.size())
      throw bad(fmt::format("cut short in the size of axis {}", axis));
    std::int64_t size = 0;
    for (const std::byte b : word) size = size << 8 | std::to_integer<std::int64_t>(b);
    sizes.push_back(size);
  }
  try {
    shape_ = Shape(std::span<const std::int64_t>(sizes));
  } catch (const InvalidArgument& error) {
    throw bad(fmt::format("impossible size: {}", error.what()));
  }
}

void IdxReader::read(std::span<std::byte> out) {
  const std::size_t n = read_up_to(*bytes_, out);
  done_ += static_cast<std::int64_t>(n);
  if (n != out.size())
    throw InvalidInput(fmt::format("{}: cut short: shape {} needs {} bytes, found {}", name(),
                                   shape_.str(), shape_.numel(), done_));
}

void IdxReader::finish() {
  std::array<std::byte, 1> more{};
  if (bytes_->read(more) != 0)
    throw InvalidInput(fmt::format("{}: bytes left over behind the {} of shape {}", name(),
                                   shape_.numel(), shape_.str()));
}

IdxArray parse_idx(std::span<const std::byte> bytes, const std::string& name) {
  IdxReader reader(unpacked_bytes(memory_bytes(bytes, name)));
  IdxArray array{reader.shape(), {}};
  // Grows as data arrives: a header alone cannot make us allocate what the file does not hold.
  constexpr std::int64_t kStep = std::int64_t{1} << 20;
  for (std::int64_t done = 0; done < array.shape.numel();) {
    const std::int64_t n = std::min(kStep, array.shape.numel() - done);
    array.data.resize(static_cast<std::size_t>(done + n));
    reader.read(std::span(array.data).subspan(static_cast<std::size_t>(done)));
    done += n;
  }
  reader.finish();
  return array;
}

std::vector<std::string> idx_files(const ImportOptions& options) {
  std::vector<std::string> files;
  for (const IdxSplit& split : idx_splits(options))
    files.insert(files.end(), {split.images, split.labels});
  return files;
}

void import_idx(const ImportOptions& options, const ImportSource& source, ImportReport&) {
  const std::vector<IdxSplit> splits = idx_splits(options);
  DatasetWriter writer(options.output, SampleKind::kImage,
                       sample_shape(IdxReader(open_bytes(splits.front().images))), options.deflate);
  std::map<std::string, Targets> targets;
  std::int64_t classes = 0;
  for (const IdxSplit& split : splits) {
    IdxReader images(open_bytes(split.images));
    std::vector<std::int64_t> labels = read_labels(split.labels);
    const auto count = static_cast<std::int64_t>(labels.size());
    if (count != images.shape()[0])
      throw InvalidInput(fmt::format("{} has {} images, but {} has {} labels", split.images,
                                     images.shape()[0], split.labels, count));
    copy_images(images, split.name, writer);
    for (const std::int64_t label : labels) classes = std::max(classes, label + 1);
    targets[split.name].labels = std::move(labels);
  }
  DatasetHeader header;
  header.class_names = options.class_names.empty() ? numbered_names(classes) : options.class_names;
  header.source = source.description;
  header.source_sha256 = source.sha256;
  writer.finish(header, targets);
}

}  // namespace phalanx
