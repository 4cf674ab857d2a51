// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/dataset_schema.hpp"
#include "data/image.hpp"
#include "data/import_bytes.hpp"
#include "data/import_sources.hpp"
#include "data/import_writer.hpp"
#include "data/tar.hpp"
#include "formats/sha256.hpp"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostFileBytes = std::uint64_t{1} << 28;

bool is_image_name(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return lower.ends_with(".jpg") || lower.ends_with(".jpeg") || lower.ends_with(".png");
}

// The steps of a path, without "." and empty ones. Empty for what is hidden, which no data set
// means.
std::vector<std::string> steps_of(const std::string& archive, const std::string& name) {
  std::vector<std::string> steps;
  for (const std::string_view step : split(name, '/')) {
    if (step.empty() || step == ".") continue;
    if (step == "..")
      throw InvalidInput(
          fmt::format("{}: refused the name '{}', which leaves its folder", archive, name));
    if (step.front() == '.' || step == "__MACOSX") return {};
    steps.emplace_back(step);
  }
  return steps;
}

// The name under which a folder of that name is stored; empty if it names no split.
std::string split_of(const std::string& folder) {
  if (folder == "train" || folder == "test") return folder;
  if (folder == "val" || folder == "valid" || folder == "validation") return "validation";
  return {};
}

// In [0, 1), from nothing but the name: adding files moves no other file to the other split.
double share_of_name(const std::string& name) {
  const std::string hex = sha256_hex(name);
  std::uint64_t bits = 0;
  std::from_chars(hex.data(), hex.data() + 13, bits, 16);
  return static_cast<double>(bits) * 0x1.0p-52;
}

// Takes files one by one, in any order, and keeps only labels and names of folders in memory.
class ClassFolders {
 public:
  ClassFolders(const ImportOptions& options, const ImportSource& source)
      : options_(options), source_(source) {}

  void add_folder(const std::string& name) {
    const auto steps = steps_of(options_.input, name);
    if (!steps.empty()) folders_.insert(fmt::format("{}", fmt::join(steps, "/")));
  }
  // True if the file is an image of a class folder, and wanted by add_image.
  bool wants(const std::string& name) {
    if (steps_of(options_.input, name).empty()) return false;
    const bool image = is_image_name(name);
    ignored_ += image ? 0 : 1;
    return image;
  }
  void add_image(const std::string& name, std::span<const std::byte> bytes);
  void finish(ImportReport& report);

 private:
  std::string place(const std::vector<std::string>& steps, const std::string& name);
  Image fit(Image image, const std::string& name);

  const ImportOptions& options_;
  const ImportSource& source_;
  std::optional<DatasetWriter> writer_;
  std::string first_name_, first_size_;  // of the image that sets the size
  std::string name_with_split_, name_without_;
  std::map<std::string, std::int64_t> class_ids_;  // in order of appearance until finish
  std::map<std::string, std::vector<std::int64_t>> ids_;
  std::set<std::string> folders_, used_folders_;
  std::vector<std::byte> planes_;
  std::int64_t ignored_ = 0;
};

// The split of an image <class>/<file> or <split>/<class>/<file>, whatever stands in front.
std::string ClassFolders::place(const std::vector<std::string>& steps, const std::string& name) {
  if (steps.size() < 2)
    throw InvalidInput(
        fmt::format("{}: image '{}' stands in no class folder", options_.input, name));
  const std::string split = steps.size() > 2 ? split_of(steps[steps.size() - 3]) : "";
  (split.empty() ? name_without_ : name_with_split_) = name;
  if (!name_without_.empty() && !name_with_split_.empty())
    throw InvalidInput(fmt::format("{}: '{}' stands in a train or test folder, but '{}' does not",
                                   options_.input, name_with_split_, name_without_));
  if (!split.empty()) return split;
  const std::string key = steps[steps.size() - 2] + "/" + steps.back();
  return share_of_name(key) < options_.test_share ? schema::kTest : schema::kTrain;
}

Image ClassFolders::fit(Image image, const std::string& name) {
  if (options_.channels != 0) image = with_channels(image, options_.channels);
  if (options_.resize_height != 0)
    image = resized(image, options_.resize_height, options_.resize_width);
  if (!writer_) {
    first_name_ = name;
    first_size_ = image.str();
    writer_.emplace(options_.output, SampleKind::kImage,
                    Shape{image.channels, image.height, image.width}, options_.deflate);
  }
  if (image.str() != first_size_)
    throw InvalidInput(fmt::format(
        "{}: image '{}' is {}, but the first one, '{}', is {}; see --resize and --channels",
        options_.input, name, image.str(), first_name_, first_size_));
  return image;
}

void ClassFolders::add_image(const std::string& name, std::span<const std::byte> bytes) {
  const auto steps = steps_of(options_.input, name);
  const std::string split = place(steps, name);
  const Image image = fit(decode_image(bytes, options_.input + "/" + name), name);
  planes_.clear();
  append_planes(image, planes_);
  writer_->append(split, planes_);
  const auto id =
      class_ids_.try_emplace(steps[steps.size() - 2], static_cast<std::int64_t>(class_ids_.size()));
  ids_[split].push_back(id.first->second);
  std::string folder;
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
    folder += (i == 0 ? "" : "/") + steps[i];
    used_folders_.insert(folder);
  }
}

void ClassFolders::finish(ImportReport& report) {
  if (!writer_)
    throw InvalidInput(
        fmt::format("{}: found no JPEG or PNG image in class folders", options_.input));
  for (const std::string& folder : folders_)
    if (!used_folders_.contains(folder))
      throw InvalidInput(
          fmt::format("{}: folder '{}' holds no JPEG or PNG image", options_.input, folder));
  DatasetHeader header;
  std::vector<std::int64_t> label_of(class_ids_.size());
  for (const auto& [name, id] :
       class_ids_) {  // a map runs in alphabetical order, which is that of the labels
    label_of[static_cast<std::size_t>(id)] = static_cast<std::int64_t>(header.class_names.size());
    header.class_names.push_back(name);
    const auto& train = ids_[schema::kTrain];
    if (std::find(train.begin(), train.end(), id) == train.end())
      throw InvalidInput(
          fmt::format("{}: class '{}' has no image to train with", options_.input, name));
  }
  std::map<std::string, Targets> targets;
  for (auto& [split, ids] : ids_) {
    for (std::int64_t& id : ids) id = label_of[static_cast<std::size_t>(id)];
    targets[split].labels = std::move(ids);
  }
  header.source = source_.description;
  header.source_sha256 = source_.sha256;
  writer_->finish(header, targets);
  report.ignored_files = ignored_;
}

// Paths below `root` in alphabetical order, folders or files.
std::vector<std::string> list_below(const std::string& root, bool folders) {
  std::vector<std::string> paths;
  try {
    for (const auto& entry :
         fs::recursive_directory_iterator(root, fs::directory_options::follow_directory_symlink))
      if (entry.is_directory() == folders)
        paths.push_back(entry.path().lexically_relative(root).generic_string());
  } catch (const fs::filesystem_error& error) {
    throw IoError(fmt::format("{}: cannot list the folder: {}", root, error.code().message()));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void read_tree(const ImportOptions& options, ClassFolders& images) {
  for (const std::string& folder : list_below(options.input, true)) images.add_folder(folder);
  for (const std::string& file : list_below(options.input, false)) {
    if (!images.wants(file)) continue;
    images.add_image(file, read_all(*file_bytes(options.input + "/" + file), kMostFileBytes));
  }
}

void read_archive(const ImportOptions& options, ClassFolders& images) {
  TarReader tar(open_bytes(options.input));
  TarEntry entry;
  while (tar.next(entry)) {
    if (entry.kind == TarEntry::Kind::kFolder) images.add_folder(entry.name);
    if (entry.kind == TarEntry::Kind::kFile && images.wants(entry.name))
      images.add_image(entry.name, tar.content(kMostFileBytes));
  }
}

}  // namespace

std::vector<std::string> images_files(const ImportOptions& options) {
  if (!fs::exists(options.input))
    throw IoError(fmt::format("{}: there is no such file or folder", options.input));
  if (!fs::is_directory(options.input)) return {options.input};
  std::vector<std::string> files;
  for (const std::string& file : list_below(options.input, false))
    files.push_back(options.input + "/" + file);
  return files;
}

void import_images(const ImportOptions& options, const ImportSource& source, ImportReport& report) {
  ClassFolders images(options, source);
  if (fs::is_directory(options.input))
    read_tree(options, images);
  else
    read_archive(options, images);
  images.finish(report);
}

}  // namespace phalanx
