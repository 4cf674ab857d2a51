// SPDX-License-Identifier: Apache-2.0
#include "data/import.hpp"

#include <fmt/format.h>

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/dataset.hpp"
#include "data/dataset_schema.hpp"
#include "data/import_sources.hpp"
#include "formats/h5.hpp"
#include "formats/sha256.hpp"

namespace phalanx {
namespace {

// Raised when the same source would now give other rows, so that old outputs are made again.
constexpr int kImporterVersion = 1;

struct Importer {
  const char* name;
  std::vector<std::string> (*files)(const ImportOptions&);
  void (*run)(const ImportOptions&, const ImportSource&, ImportReport&);
};

constexpr std::array kImporters{
    Importer{"idx", idx_files, import_idx},
    Importer{"cifar10", cifar10_files, import_cifar10},
    Importer{"images", images_files, import_images},
    Importer{"csv", csv_files, import_csv},
};

const Importer& find_importer(const std::string& name) {
  std::vector<std::string> known;
  for (const Importer& importer : kImporters) {
    if (importer.name == name) return importer;
    known.emplace_back(importer.name);
  }
  throw ConfigError(fmt::format("source: expected one of {}, found '{}'; did you mean '{}'?",
                                fmt::join(known, ", "), name, nearest(name, known)));
}

void check(const ImportOptions& options) {
  if (options.output.empty())
    throw ConfigError("output: expected the name of the HDF5 file to make");
  if (options.input.empty() && options.idx.empty())
    throw ConfigError("input: expected a file or folder");
  if (options.deflate < 0 || options.deflate > 9)
    throw ConfigError(fmt::format("deflate: expected 0 to 9, found {}", options.deflate));
  if (!(options.test_share >= 0 && options.test_share < 1))
    throw ConfigError(
        fmt::format("test-share: expected a number in [0, 1), found {}", options.test_share));
  if ((options.resize_height > 0) != (options.resize_width > 0) || options.resize_height < 0 ||
      options.resize_width < 0)
    throw ConfigError("resize: expected a height and a width, both positive");
  if (options.channels != 0 && options.channels != 1 && options.channels != 3)
    throw ConfigError(fmt::format("channels: expected 0, 1 or 3, found {}", options.channels));
}

// Every option that can change a row, each value with its length in front.
std::string describe_options(const ImportOptions& o) {
  std::string text = fmt::format("importer {}\n", kImporterVersion);
  const auto add = [&text](const char* name, const auto& value) {
    const std::string v = fmt::format("{}", value);
    text += fmt::format("{} {} {}\n", name, v.size(), v);
  };
  const auto add_list = [&add](const char* name, const std::vector<std::string>& values) {
    for (const std::string& value : values) add(name, value);
  };
  add("source", o.source);
  add("deflate", o.deflate);
  add("test_share", o.test_share);
  add("seed", o.seed);
  add_list("class_name", o.class_names);
  add_list("idx", o.idx);
  add("resize_height", o.resize_height);
  add("resize_width", o.resize_width);
  add("channels", o.channels);
  add_list("csv_target", o.csv_target);
  add("csv_target_file", o.csv_target_file);
  add("csv_test_file", o.csv_test_file);
  add_list("csv_ignore", o.csv_ignore);
  add("csv_kind", o.csv_kind);
  add("csv_header", o.csv_header);
  add("csv_delimiter", o.csv_delimiter);
  add("csv_missing", o.csv_missing);
  add("csv_text", o.csv_text);
  return text;
}

std::string describe_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    throw IoError(fmt::format("{}: cannot read: {}", path, std::strerror(errno)));
  return fmt::format("{} {} {} {}.{:09}\n", path.size(), path, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

ImportSource describe_source(const ImportOptions& options, const Importer& importer) {
  ImportSource source;
  source.files = importer.files(options);
  Sha256 digest;
  digest.update(describe_options(options));
  for (const std::string& file : source.files)
    digest.update(describe_file(std::filesystem::weakly_canonical(file).string()));
  source.sha256 = digest.hex();
  const std::string from = options.input.empty() ? source.files.front() : options.input;
  source.description = fmt::format("{} {}", importer.name, from);
  return source;
}

// An output that cannot be read, or is no data set, is simply made anew.
bool is_up_to_date(const std::string& path, const std::string& sha256) {
  if (!std::filesystem::exists(path)) return false;
  try {
    read_dataset_info(path);
    return h5::File::open(path).string_attribute(schema::kSourceSha256) == sha256;
  } catch (const InvalidInput&) {
    return false;
  }
}

}  // namespace

ImportReport import_dataset(const ImportOptions& options) {
  check(options);
  const Importer& importer = find_importer(options.source);
  const ImportSource source = describe_source(options, importer);
  ImportReport report;
  report.path = options.output;
  report.unchanged = is_up_to_date(options.output, source.sha256);
  if (!report.unchanged) importer.run(options, source, report);
  report.info = read_dataset_info(options.output);
  const h5::File file = h5::File::open(options.output);
  for (const std::string& split : dataset_splits(options.output))
    report.splits.push_back({split, file.open_dataset(split + "/" + schema::kX).rows()});
  return report;
}

std::string ImportReport::str() const {
  std::string text =
      fmt::format("{}{}\n", path, unchanged ? " is up to date, nothing to do" : " written");
  for (const SplitReport& split : splits)
    text += fmt::format("  {:<10} {} rows\n", split.name, split.rows);
  text += fmt::format("  sample     {} {}\n", name(info.x_dtype), info.sample.str());
  if (info.target == TargetKind::kClass)
    text += fmt::format("  classes    {}: {}\n", info.classes, fmt::join(info.class_names, ", "));
  else
    text += fmt::format("  targets    {} {}\n", info.targets, info.binary ? "binary" : "real");
  if (dropped_rows > 0)
    text += fmt::format("  dropped    {} rows with missing values\n", dropped_rows);
  if (ignored_files > 0)
    text += fmt::format("  ignored    {} files that are neither JPEG nor PNG\n", ignored_files);
  text += fmt::format("  content    sha256 {}\n", info.content_sha256);
  return text;
}

}  // namespace phalanx
