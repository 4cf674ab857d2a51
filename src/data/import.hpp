// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/row_source.hpp"

namespace phalanx {

/// What to import and how. Each member is the flag of the same name with '-' for '_';
/// data/README.md has recipes.
struct ImportOptions {
  std::string source;  ///< idx | cifar10 | images | csv
  std::string
      input;  ///< folder, or file where the source allows one; may be empty for idx with `idx`
  std::string output;  ///< HDF5 file
  int deflate = 0;     ///< 0 ... 9; 0 stores rows as they are, which reads fastest
  double test_share =
      0.2;  ///< rows put into "test" where the source has no split of its own; 0: none
  std::int64_t seed = 1;  ///< of that choice, csv only: images are chosen by a hash of their name
  std::vector<std::string>
      class_names;  ///< idx, csv classes: names of the labels 0, 1, ...; empty: the labels

  // idx
  std::vector<std::string>
      idx;  ///< "train=images-file,labels-file"; empty: MNIST's names in the folder `input`

  // images
  std::int64_t resize_height = 0;  ///< pixels; 0: every image must have the size of the first
  std::int64_t resize_width = 0;
  std::int64_t channels = 0;  ///< 1: grey, 3: RGB, 0: as the first image

  // csv
  std::vector<std::string> csv_target;  ///< columns by name, or by number from 0; -1 is the last
  std::string csv_target_file;          ///< the targets stand in this file instead, row by row
  std::string csv_test_file;            ///< the rows of "test"; test_share is then not used
  std::vector<std::string> csv_ignore;  ///< columns left out
  std::string csv_kind = "classification";  ///< classification | binary | regression
  std::string csv_header =
      "names";  ///< names | none | sklearn (first line: rows,features,class,class,...)
  std::string csv_delimiter = ",";    ///< one character; "tab"; a blank means runs of blanks
  std::string csv_missing = "error";  ///< error | drop | mean (of the training rows)
  std::string csv_text = "category";  ///< category (one-hot, values in alphabetical order) | error
};

struct SplitReport {
  std::string name;
  std::int64_t rows = 0;
};

struct ImportReport {
  std::string path;
  bool unchanged =
      false;  ///< the file was there already, made from the same source with the same options
  DatasetInfo info;
  std::vector<SplitReport> splits;
  std::int64_t dropped_rows = 0;   ///< csv: rows with missing values
  std::int64_t ignored_files = 0;  ///< images: files that are neither JPEG nor PNG

  /// For people, several lines.
  std::string str() const;
};

/// Makes a data set file from foreign files (docs/formats.md, "Data sets"). The output appears
/// whole or not at all. If it is there already and was made from the same files (path, size, time)
/// with the same options, nothing is done.
///
/// Throws    ConfigError for an option that is wrong or belongs to another source; InvalidInput for
/// a malformed file,
///           naming file and position; IoError (disk full, permissions).
ImportReport import_dataset(const ImportOptions& options);

}  // namespace phalanx
