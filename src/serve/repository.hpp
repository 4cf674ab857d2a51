// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "serve/manifest.hpp"
#include "serve/model_config.hpp"

namespace phalanx {

/// A folder of models: NAME/config.json and NAME/VERSION/ with manifest.json and the files that it names. Versions are numbers
/// from 1, without leading zeros; a version appears whole, by a rename, and is never changed. Layout: docs/formats.md.
class Repository {
 public:
  /// Throws    IoError if there is no such folder.
  explicit Repository(std::string folder);
  /// Holds no models.
  Repository() = default;

  const std::string& folder() const noexcept { return folder_; }
  /// A text with names of files as they lie in the repository: where that lies is nobody's business who asks over HTTP.
  std::string without_folder(std::string text) const;
  /// Names of models, sorted. Entries that cannot be one are left out.
  std::vector<std::string> models() const;
  /// Published versions of a model, ascending; none if there is no such model.
  std::vector<std::int64_t> versions(const std::string& model) const;
  bool has(const std::string& model) const;
  /// Of config.json, or the defaults where there is none.
  /// Throws    InvalidInput, IoError.
  ModelConfig config(const std::string& model) const;
  /// The manifest of a version, found to be of that name and number, and all files there with the sizes that it gives.
  /// Throws    InvalidInput naming what does not fit; IoError.
  Manifest manifest(const std::string& model, std::int64_t version) const;
  std::string version_folder(const std::string& model, std::int64_t version) const;

 private:
  std::string folder_;
};

/// Of the published versions of a model, ascending, those that its policy chooses, and those that aliases and the shadow name.
/// Throws    InvalidInput if there is none, or one that is named is not published.
std::vector<std::int64_t> wanted_versions(const std::string& model, const ModelConfig& config,
                                          const std::vector<std::int64_t>& published);

struct PublishOptions {
  std::string checkpoint;  ///< made by training
  std::string repository;  ///< created if missing
  std::string name;
  std::int64_t version = 0;  ///< 0: the highest so far plus one
  double threshold = 0.5;    ///< binary answers
};

struct Published {
  std::string folder;
  Manifest manifest;
};

/// Puts the network of a checkpoint, without the state of its optimizer, into a repository.
/// Throws    InvalidInput for a bad name, a checkpoint that is damaged, or a version that exists; IoError. The repository is
///           then as it was.
Published publish(const PublishOptions& options);

}  // namespace phalanx
