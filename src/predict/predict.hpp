// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "device/stream.hpp"

namespace phalanx {

struct PredictOptions {
  std::string checkpoint;  ///< file made by training
  std::string data;        ///< HDF5 data set
  std::string split = "test";
  std::string output;             ///< folder for predictions.h5 and predictions.csv
  std::int64_t batch_size = 256;  ///< rows computed, written and marked as done together
  double threshold = 0.5;         ///< binary targets: probability from which the answer is 1
  bool csv = true;                ///< also write predictions.csv
  std::int64_t cache_mib = 4096;
};

struct PredictReport {
  std::int64_t rows = 0;
  std::int64_t computed = 0;  ///< rows of this call, over all ranks; the rest was done before
  double seconds = 0;
  std::string file;
  std::string csv_file;  ///< empty: none
};

/// Predicts a whole split on all ranks. The rows are cut into batches whose borders do not depend on the number of ranks,
/// the batches into one contiguous share per rank, and each rank writes its hyperslab of one HDF5 file, in input order; so
/// the file has the same bytes for any number of ranks. Layout: docs/formats.md, "Predictions".
///
/// While it is being made the file is called predictions.partial.h5 and marks each batch that is done. A call that finds
/// one of the same checkpoint, data and options computes what is missing; a finished file is left as it is.
/// Called by every rank.
/// Throws    InvalidInput if the data does not fit the model, or the folder holds predictions of something else; IoError.
PredictReport predict(const PredictOptions& options, const RankLayout& layout, Communicator& comm,
                      Stream& stream);

}  // namespace phalanx
