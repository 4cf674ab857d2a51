// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/shape.hpp"
#include "models/answers.hpp"

namespace phalanx {

/// One tensor that clients see, without its batch axis; always f32.
struct TensorSchema {
  std::string name;
  Shape shape;
  friend bool operator==(const TensorSchema&, const TensorSchema&) = default;
};

/// What stands beside the weights of a published version, as manifest.json: enough to check the files, to tell clients what
/// to send, and to prepare and read what the network computes. Layout: docs/formats.md, "Model repository".
struct Manifest {
  struct File {
    std::uint64_t size_bytes = 0;
    std::string sha256;
    friend bool operator==(const File&, const File&) = default;
  };
  std::string name;
  std::int64_t version = 0;
  std::string created;                ///< UTC, 2026-11-25T15:04:05Z
  std::map<std::string, File> files;  ///< by name, in the folder of the version
  Task task = Task::kRegression;
  TensorSchema input{"input", {}};
  TensorSchema output{"output", {}};

  // From what clients send to what the network reads: (v / divide_by - mean) / std per channel or feature.
  bool is_image = false;  ///< input is [C, H, W]; JPEG and PNG files are taken as well
  double divide_by = 1;   ///< 255 for images, whose pixels are 0 to 255
  bool normalise = false;
  std::vector<float> mean, std;

  // From what the network computes to answers.
  std::vector<std::string> labels;  ///< of the outputs; may be empty
  double threshold = 0.5;           ///< binary: least probability of a 1
  bool normalise_targets = false;   ///< answers are y * target_std + target_mean
  std::vector<float> target_mean, target_std;

  std::map<std::string, double> metrics;  ///< of the training run
  // The run that it came from.
  std::int64_t step = 0, epoch = 0;
  std::string data_sha256;
  std::string config;  ///< the effective configuration

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kWeightsFile = "model.h5";
/// The largest manifest that is read.
inline constexpr std::size_t kMostManifestBytes = std::size_t{4} << 20;

std::string to_json(const Manifest& manifest);

/// Throws    InvalidInput naming `source`, the member, what was expected and what was found.
Manifest manifest_from_json(const std::string& text, const std::string& source);

/// All but name, version, time and files, from the record of a checkpoint.
Manifest manifest_of(const RunRecord& record, double threshold);

}  // namespace phalanx
