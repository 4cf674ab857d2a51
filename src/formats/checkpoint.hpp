// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.hpp"

namespace phalanx {

/// One array of a checkpoint, "/parameters/conv1.weight".
struct CheckpointEntry {
  std::string path;
  ConstTensorView data;        ///< plain f32, on the host
  bool changes_early = false;  ///< in forward passes already: CheckpointWriter takes it at once
};

/// Writes a checkpoint whole or not at all: arrays as contiguous f32 datasets, each with its
/// SHA-256, and `run`, a JSON text that says what the arrays are of and where the run stood. The
/// layout is that of docs/formats.md.
/// Throws    IoError naming path and reason (disk full); whatever stood at `path` is then untouched.
void write_checkpoint(const std::string& path, const std::string& run,
                      const std::vector<CheckpointEntry>& entries);

/// A checkpoint that was read and found whole.
class Checkpoint {
 public:
  /// Reads everything and verifies every checksum.
  /// Throws    InvalidInput naming file and dataset if it is truncated, damaged or none of ours;
  /// IoError if missing.
  static Checkpoint read(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  const std::string& run() const noexcept { return run_; }
  bool has(const std::string& entry) const noexcept;
  /// Copies one array.
  /// Throws    InvalidInput naming file and array if it is missing or has another shape (both are
  /// named).
  void load(const std::string& entry, TensorView to) const;
  struct Array {
    std::string path;
    Shape shape;
    std::vector<float> values;
  };
  const std::vector<Array>& arrays() const noexcept { return arrays_; }

 private:
  std::string path_;
  std::string run_;
  std::vector<Array> arrays_;
};

/// The checkpoints of one run: files step_NNNNNNNNN.h5 and best.h5 in one folder.
class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::string folder) : folder_(std::move(folder)) {}

  std::string path_of_step(std::int64_t step) const;
  std::string best_path() const;
  /// Numbered checkpoints, newest first.
  std::vector<std::pair<std::int64_t, std::string>> list() const;
  /// The newest that is whole; each damaged one that is passed over is logged with its reason.
  /// Throws    InvalidInput if there are checkpoints but none is whole.
  std::optional<Checkpoint> newest() const;
  /// Removes all but the newest `keep` of the numbered ones up to `step`, the one just written, and
  /// what killed runs left unfinished. Later ones are damaged, else the run would not stand at
  /// `step`: they do not count, and the run overwrites them when it comes there.
  void prune(std::int64_t keep, std::int64_t step) const;

 private:
  std::string folder_;
};

}  // namespace phalanx
