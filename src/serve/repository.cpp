// SPDX-License-Identifier: Apache-2.0
#include "serve/repository.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <set>

#include "core/error.hpp"
#include "core/log.hpp"
#include "formats/atomic_file.hpp"
#include "formats/checkpoint.hpp"
#include "serve/safe_file.hpp"

namespace phalanx {

namespace fs = std::filesystem;

namespace {

/// 0 for what is no version.
std::int64_t version_from(const std::string& name) {
  std::int64_t version = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), version);
  const bool is_number = error == std::errc() && end == name.data() + name.size();
  return is_number && version > 0 && fmt::format("{}", version) == name ? version : 0;
}

template <class Use>
void for_each_folder(const std::string& folder, Use use) {
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->symlink_status(error).type() == fs::file_type::directory)
      use(at->path().filename().string());
}

}  // namespace

Repository::Repository(std::string folder) : folder_(std::move(folder)) {
  std::error_code error;
  if (!fs::is_directory(folder_, error))
    throw IoError(fmt::format("{}: is no folder of models", folder_));
}

std::string Repository::without_folder(std::string text) const {
  if (folder_.empty()) return text;
  const std::string prefix = folder_ + "/";
  for (std::size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;)
    text.erase(at, prefix.size());
  return text;
}

std::vector<std::string> Repository::models() const {
  std::vector<std::string> names;
  for_each_folder(folder_, [&](const std::string& name) {
    if (is_model_name(name)) names.push_back(name);
  });
  std::ranges::sort(names);
  return names;
}

bool Repository::has(const std::string& model) const {
  std::error_code error;
  return is_model_name(model) &&
         fs::symlink_status(folder_ + "/" + model, error).type() == fs::file_type::directory;
}

std::vector<std::int64_t> Repository::versions(const std::string& model) const {
  std::vector<std::int64_t> found;
  if (!has(model)) return found;
  for_each_folder(folder_ + "/" + model, [&](const std::string& name) {
    if (const std::int64_t version = version_from(name); version > 0) found.push_back(version);
  });
  std::ranges::sort(found);
  return found;
}

ModelConfig Repository::config(const std::string& model) const {
  require(is_model_name(model), "config() of what is no name of a model");
  std::error_code error;
  const std::string file = model + "/" + kModelConfigFile;
  if (fs::symlink_status(folder_ + "/" + file, error).type() == fs::file_type::not_found) return {};
  const SafeFile safe(folder_, file);
  return model_config_from_json(safe.read(kMostManifestBytes), safe.path());
}

std::string Repository::version_folder(const std::string& model, std::int64_t version) const {
  return fmt::format("{}/{}/{}", folder_, model, version);
}

Manifest Repository::manifest(const std::string& model, std::int64_t version) const {
  require(is_model_name(model), "manifest() of what is no name of a model");
  const std::string folder = fmt::format("{}/{}", model, version);
  const SafeFile safe(folder_, folder + "/" + kManifestFile);
  Manifest m = manifest_from_json(safe.read(kMostManifestBytes), safe.path());
  if (m.name != model || m.version != version)
    throw InvalidInput(fmt::format("{}: is of version {} of '{}', expected version {} of '{}'",
                                   safe.path(), m.version, m.name, version, model));
  for (const auto& [name, file] : m.files) {
    const SafeFile found(folder_, folder + "/" + name);
    if (found.size_bytes() != file.size_bytes)
      throw InvalidInput(fmt::format("{}: has {} bytes, expected {}", found.path(),
                                     found.size_bytes(), file.size_bytes));
  }
  return m;
}

std::vector<std::int64_t> wanted_versions(const std::string& model, const ModelConfig& config,
                                          const std::vector<std::int64_t>& published) {
  const auto chosen = config.versions.select(published);
  std::set<std::int64_t> wanted(chosen.begin(), chosen.end());
  const auto want = [&](std::int64_t version, const std::string& what) {
    if (!std::ranges::binary_search(published, version))
      throw InvalidInput(fmt::format("{} of model '{}' is version {}, which is not published", what,
                                     model, version));
    wanted.insert(version);
  };
  for (const auto& [name, alias] : config.aliases) want(alias.version, "alias '" + name + "'");
  if (config.shadow_version > 0) want(config.shadow_version, "shadow_version");
  if (wanted.empty())
    throw InvalidInput(fmt::format("model '{}' has no version that its policy serves", model));
  return {wanted.begin(), wanted.end()};
}

namespace {

void create_folder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw IoError(fmt::format("cannot create the folder {}: {}", folder, error.message()));
}

/// ".incoming.HOST.N.": how unfinished versions begin that processes of this host have made. Several systems may share the
/// folder, and several containers the name of a host: a process id says something only within N, its namespace.
std::string incoming_prefix() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '-';
  struct stat space {};
  if (::stat("/proc/self/ns/pid", &space) != 0) space.st_ino = 0;
  return fmt::format(".incoming.{}.{}.", host.data(), space.st_ino);
}

/// Removes what was left of processes that ended in the middle of it.
void remove_abandoned(const std::string& model_folder) {
  const std::string prefix = incoming_prefix();
  std::vector<std::string> abandoned;
  for_each_folder(model_folder, [&](const std::string& name) {
    if (!name.starts_with(prefix)) return;
    pid_t pid = 0;
    const char* end = name.data() + name.size();
    const auto [at, error] = std::from_chars(name.data() + prefix.size(), end, pid);
    if (error != std::errc() || at != end || pid <= 0) return;
    if (::kill(pid, 0) != 0 && errno == ESRCH) abandoned.push_back(name);
  });
  for (const std::string& name : abandoned) {
    std::error_code error;
    fs::remove_all(model_folder + "/" + name, error);
    if (error) log_warning("{}/{} cannot be removed: {}", model_folder, name, error.message());
  }
}

/// A folder that is gone again unless it was renamed.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) { create_folder(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

void write_weights(const Checkpoint& checkpoint, const std::string& path) {
  std::vector<CheckpointEntry> entries;
  for (const Checkpoint::Array& array : checkpoint.arrays())
    if (!array.path.starts_with("/optimizer/"))
      entries.push_back({array.path, {array.values.data(), {DType::kF32, array.shape}}});
  write_checkpoint(path, checkpoint.run(), entries);
}

}  // namespace

Published publish(const PublishOptions& options) {
  if (!is_model_name(options.name))
    throw InvalidInput(fmt::format(
        "'{}' cannot be the name of a model: letters, digits, '_', '.' and '-', at most 128",
        options.name));
  const Checkpoint checkpoint = Checkpoint::read(options.checkpoint);
  const RunRecord record = run_record_from_json(checkpoint.run(), options.checkpoint);
  const std::string model_folder = options.repository + "/" + options.name;
  create_folder(model_folder);
  const Repository repository(options.repository);
  if (!repository.has(options.name))
    throw InvalidInput(fmt::format("{} is a link, not a folder", model_folder));
  const std::vector<std::int64_t> published = repository.versions(options.name);
  Manifest m = manifest_of(record, options.threshold);
  m.name = options.name;
  m.version = options.version > 0 ? options.version : published.empty() ? 1 : published.back() + 1;
  m.created = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));

  remove_abandoned(model_folder);
  const TemporaryFolder temporary(
      fmt::format("{}/{}{}", model_folder, incoming_prefix(), ::getpid()));
  write_weights(checkpoint, temporary.path() + "/" + kWeightsFile);
  const SafeFile weights(temporary.path(), kWeightsFile);
  m.files[kWeightsFile] = {weights.size_bytes(), weights.sha256()};
  write_file_atomically(temporary.path() + "/" + kManifestFile, to_json(m));
  const std::string folder = repository.version_folder(m.name, m.version);
  std::error_code error;
  if (fs::exists(folder, error))
    throw InvalidInput(fmt::format("{} exists; versions are never changed", folder));
  rename_durably(temporary.path(), folder);
  return {folder, std::move(m)};
}

}  // namespace phalanx
