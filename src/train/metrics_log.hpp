// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phalanx {

/// One measured value; names are those listed at MetricsLog, or others.
using Metric = std::pair<std::string_view, double>;

/// One line of a metrics file as read back. Values that are not finite are NaN or infinite again.
struct MetricsLine {
  std::int64_t step = 0;
  double epoch = 0;
  std::string split;
  std::vector<std::pair<std::string, double>> values;

  /// The value of that name, if the line has it.
  std::optional<double> value(std::string_view name) const;
};

/// Writes metrics.jsonl: one JSON object per line, complete on disk's cache before write() returns.
///
/// Every line has, in this order
///   step                   optimizer steps done so far, from 1
///   epoch                  epochs done so far, with fraction
///   split                  name of the split the values belong to ("train", "test")
/// and then what the caller gives. The trainer uses
///   loss                   mean per sample since the last line, or over the whole split
///   accuracy               share of right answers, 0 to 1
///   f1, top5_accuracy, perplexity, mean_absolute_error, r2     of a whole split, where they fit (see Evaluation)
///   learning_rate          of the last step
///   joules, joules_per_sample      of all nodes in the epoch that ends here; estimated_joules... where they are no measurement
///   bucket_<i>_hidden_seconds, bucket_<i>_exposed_seconds      communication of one bucket since the last line, if there
///                          are several: beside the backward pass, and while the training thread waited
///   gradient_norm          global, before clipping, of the last step
///   samples_per_second     over all ranks, since the last line
///   data_wait_share        share of the time spent waiting for data, 0 to 1
///   communication_seconds  spent in collectives since the last line
///   exposed_seconds        the part of it that backward did not hide
///   seconds                since the start of the run, earlier parts of a resumed run included
///
/// Numbers   Doubles keep every bit. JSON has no NaN or infinity: such a value is null and a second
///           field <name>_text holds "nan", "inf" or "-inf".
/// Ranks     One rank writes, by convention rank 0.
class MetricsLog {
 public:
  /// Starts a new file, or, with `resume_step`, continues one: lines of later steps and an
  /// unfinished last line are cut off. A missing file is a new one.
  /// Throws    IoError if the file cannot be opened or cut; InvalidInput as read_metrics.
  explicit MetricsLog(std::string path, std::optional<std::int64_t> resume_step = std::nullopt);

  /// Throws    IoError if the line cannot be written (disk full);
  ///           InvalidArgument on a name that occurs twice or is step, epoch or split.
  void write(std::int64_t step, double epoch, std::string_view split,
             std::span<const Metric> values);

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

/// The lines of a metrics file, in order, without an unfinished last line. For plots of a resumed
/// run and for tools.
/// Throws    IoError if it cannot be read; InvalidInput naming file and line if a line is not an
///           object as MetricsLog writes it.
std::vector<MetricsLine> read_metrics(const std::string& path);

}  // namespace phalanx
