// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <map>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/dataset_schema.hpp"
#include "data/import_bytes.hpp"
#include "data/import_sources.hpp"
#include "data/import_writer.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kImageBytes = 3 * 32 * 32;
constexpr std::size_t kRecordBytes =
    1 + kImageBytes;  // the label, then the red, green and blue planes
constexpr std::size_t kMostNameBytes = std::size_t{1} << 16;

std::string names_file(const ImportOptions& options) { return options.input + "/batches.meta.txt"; }

bool is_test(const std::string& file) {
  return std::filesystem::path(file).filename() == "test_batch.bin";
}

std::vector<std::string> read_names(const std::string& path) {
  const auto bytes = read_all(*open_bytes(path), kMostNameBytes);
  std::vector<std::string> names;
  for (const std::string_view line :
       split({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, '\n'))
    if (!trim(line).empty()) names.emplace_back(trim(line));
  return names;
}

void copy_batch(const std::string& file, DatasetWriter& writer,
                std::map<std::string, Targets>& targets, std::size_t classes) {
  const std::string split = is_test(file) ? schema::kTest : schema::kTrain;
  const auto bytes = open_bytes(file);
  std::array<std::byte, kRecordBytes> record{};
  for (std::int64_t row = 0;; ++row) {
    const std::size_t n = read_up_to(*bytes, record);
    if (n == 0) return;
    if (n < record.size())
      throw InvalidInput(fmt::format("{}: record {} is cut short: expected {} bytes, found {}",
                                     file, row, record.size(), n));
    const auto label = std::to_integer<std::int64_t>(record[0]);
    if (static_cast<std::size_t>(label) >= classes)
      throw InvalidInput(fmt::format("{}: record {}: label {} is outside the {} classes", file, row,
                                     label, classes));
    writer.append(split, std::span(record).subspan(1));
    targets[split].labels.push_back(label);
  }
}

}  // namespace

std::vector<std::string> cifar10_files(const ImportOptions& options) {
  std::vector<std::string> files;
  for (int batch = 1; batch <= 5; ++batch) {
    const std::string file = fmt::format("{}/data_batch_{}.bin", options.input, batch);
    if (std::filesystem::exists(file)) files.push_back(file);
  }
  if (files.empty())
    throw IoError(fmt::format("{}: expected data_batch_1.bin ... data_batch_5.bin in this folder",
                              options.input));
  if (const std::string test = options.input + "/test_batch.bin"; std::filesystem::exists(test))
    files.push_back(test);
  files.push_back(names_file(options));
  return files;
}

void import_cifar10(const ImportOptions& options, const ImportSource& source, ImportReport&) {
  DatasetHeader header;
  header.class_names =
      options.class_names.empty() ? read_names(names_file(options)) : options.class_names;
  header.source = source.description;
  header.source_sha256 = source.sha256;
  DatasetWriter writer(options.output, SampleKind::kImage, {3, 32, 32}, options.deflate);
  std::map<std::string, Targets> targets;
  for (const std::string& file : source.files)
    if (file != names_file(options)) copy_batch(file, writer, targets, header.class_names.size());
  writer.finish(header, targets);
}

}  // namespace phalanx
