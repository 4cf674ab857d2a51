// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "formats/h5.hpp"

namespace phalanx {

/// What the answers of a model are.
struct PredictionKind {
  enum class Kind { kClass, kBinary, kValues };
  Kind kind = Kind::kValues;
  std::int64_t outputs = 0;        ///< values per row
  std::vector<std::string> names;  ///< of the classes, or of the outputs; may be empty
  double threshold = 0.5;
};

/// The file predictions.h5 while it is filled: /row i64 [N], /prediction (i64 [N] for classes, i64 [N, K] for binary
/// answers, f32 [N, K] for values), /probability f32 [N, K] (not for values), /done u8 [batches].
class PredictionFile {
 public:
  /// Creates the file with its space taken and nothing done. One rank does this, before the others open it.
  static void create(const std::string& path, const std::string& identity,
                     const PredictionKind& kind, std::int64_t rows, std::int64_t batch_rows);
  /// Whether a file exists and is of this identity.
  /// Throws    InvalidInput if it exists and is of another, or is no prediction file.
  static bool exists(const std::string& path, const std::string& identity);

  /// All ranks of `mpi_comm` together; null: one rank.
  PredictionFile(const std::string& path, const PredictionKind& kind, void* mpi_comm);

  /// 1 for every batch that is done.
  std::vector<std::uint8_t> done() const { return done_.read_vector<std::uint8_t>(); }
  /// Writes the answers for rows [begin, ...) from the logits of one batch, then marks the batch. Any rank, at any time.
  void write_batch(std::int64_t batch, std::int64_t begin, std::int64_t rows, const float* logits);
  void close();

 private:
  PredictionKind kind_;
  std::vector<std::int64_t> row_numbers_, answers_;
  std::vector<float> values_;
  h5::File file_;
  h5::Dataset row_, prediction_, done_;
  std::optional<h5::Dataset> probability_;
};

/// One line per row: row, prediction (class name where there are names), and the probabilities.
void write_prediction_csv(const std::string& from, const std::string& to);

}  // namespace phalanx
