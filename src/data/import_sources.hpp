// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "data/import.hpp"

namespace phalanx {

/// What an import is made from, worked out before anything is read.
struct ImportSource {
  std::vector<std::string> files;  ///< every file that is read, in the order in which it is read
  std::string description;         ///< for people: "idx /usr/share/...": stored in the output
  std::string sha256;  ///< of paths, sizes, times and options: equal means nothing to do
};

// The files that a source consists of, in the order in which they are read.
// Throw     ConfigError or IoError if options contradict each other or a file is not there.
std::vector<std::string> idx_files(const ImportOptions& options);
std::vector<std::string> cifar10_files(const ImportOptions& options);
std::vector<std::string> images_files(const ImportOptions& options);
std::vector<std::string> csv_files(const ImportOptions& options);

// One importer per source. Each writes the whole output and fills in what it counted.
void import_idx(const ImportOptions& options, const ImportSource& source, ImportReport& report);
void import_cifar10(const ImportOptions& options, const ImportSource& source, ImportReport& report);
void import_images(const ImportOptions& options, const ImportSource& source, ImportReport& report);
void import_csv(const ImportOptions& options, const ImportSource& source, ImportReport& report);

}  // namespace phalanx
