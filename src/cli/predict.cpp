// SPDX-License-Identifier: Apache-2.0
#include "predict/predict.hpp"

#include <fmt/format.h>

#include "cli/rank_options.hpp"
#include "cli/session.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "data/dataset.hpp"
#include "models/load.hpp"
#include "train/evaluate.hpp"

namespace phalanx {
ExitCode predict_command(MpiRuntime& mpi, Arguments arguments) {
  PredictOptions options;
  SessionOptions ranks;
  OptionTable table("phalanx predict --checkpoint FILE --data FILE.h5 --output FOLDER [options]");
  table.group("Input and output");
  table.add("checkpoint", &options.checkpoint, "path", "made by `phalanx train`").required();
  table.add("data", &options.data, "path", "data set").required();
  table.add("split", &options.split, "", "part of the data set");
  table.add("output", &options.output, "path", "folder for predictions.h5 and predictions.csv")
      .required();
  table.add("csv", &options.csv, "", "also write predictions.csv");
  table
      .add("batch-size", &options.batch_size, "rows",
           "computed together; does not depend on the number of ranks")
      .at_least(1);
  table.add("threshold", &options.threshold, "", "binary answers: least probability of a 1")
      .at_least(0)
      .at_most(1);
  table.add("cache-mib", &options.cache_mib, "MiB", "largest split kept whole in memory, per rank")
      .at_least(0);
  add_rank_options(table, ranks);
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  Session session(mpi, ranks);
  if (session.is_first() && !session.computes_on.empty())
    log_info("computes {}", session.computes_on);
  const PredictReport report = predict(options, session.layout, *session.comm, session.stream);
  if (!session.is_first()) return ExitCode::kDone;
  if (report.computed == 0)
    fmt::print("\nnothing to do: {} rows were predicted before\n", report.rows);
  else
    fmt::print("\npredicted {} rows in {} ({:.0f} samples/s on {} rank{})\n", report.computed,
               human_seconds(report.seconds), static_cast<double>(report.computed) / report.seconds,
               session.layout.size, session.layout.size == 1 ? "" : "s");
  if (report.computed != 0 && report.computed < report.rows)
    print_line("done before", fmt::format("{} rows", report.rows - report.computed));
  print_line("predictions", report.file);
  if (!report.csv_file.empty()) print_line("as CSV", report.csv_file);
  return ExitCode::kDone;
}

namespace {

/// Rows are labels, columns answers; only where it fits a terminal.
void print_confusion(const Evaluation& e, const std::vector<std::string>& class_names) {
  constexpr std::int64_t kMost = 16;
  if (e.classes == 0 || e.classes > kMost) return;
  const auto name = [&](std::int64_t c) {
    const auto i = static_cast<std::size_t>(c);
    return static_cast<std::int64_t>(class_names.size()) == e.classes ? class_names[i]
                                                                      : fmt::format("{}", c);
  };
  fmt::print("\n  {:<16}", "label \\ answer");
  for (std::int64_t c = 0; c < e.classes; ++c) fmt::print(" {:>7.7}", name(c));
  fmt::print("\n");
  for (std::int64_t label = 0; label < e.classes; ++label) {
    fmt::print("  {:<16.16}", name(label));
    for (std::int64_t answer = 0; answer < e.classes; ++answer)
      fmt::print(" {:>7}", e.confusion[static_cast<std::size_t>(label * e.classes + answer)]);
    fmt::print("\n");
  }
}

}  // namespace

ExitCode evaluate_command(MpiRuntime& mpi, Arguments arguments) {
  std::string checkpoint, data, split = "test";
  std::int64_t batch_size = 256, cache_mib = 4096;
  SessionOptions ranks;
  OptionTable table("phalanx evaluate --checkpoint FILE --data FILE.h5 [options]");
  table.group("Input");
  table.add("checkpoint", &checkpoint, "path", "made by `phalanx train`").required();
  table.add("data", &data, "path", "data set").required();
  table.add("split", &split, "", "part of the data set");
  table.add("batch-size", &batch_size, "samples", "per step over all ranks").at_least(1);
  table.add("cache-mib", &cache_mib, "MiB", "largest split kept whole in memory, per rank")
      .at_least(0);
  add_rank_options(table, ranks);
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  Session session(mpi, ranks);
  if (session.is_first() && !session.computes_on.empty())
    log_info("computes {}", session.computes_on);
  LoadedModel model = load_model(checkpoint, batch_size, session.stream);
  Dataset dataset(data, split, static_cast<std::size_t>(cache_mib) << 20);
  if (!(dataset.info().sample == model.record.model.sample))
    throw InvalidInput(fmt::format("{}: its samples have the shape {}, but the model takes {}",
                                   data, dataset.info().sample.str(),
                                   model.record.model.sample.str()));
  const Sampler sampler({.rows = dataset.size(),
                         .batch_size = batch_size,
                         .rank = session.layout.rank,
                         .size = session.layout.size,
                         .shuffle = false});
  Loader loader(
      dataset, sampler,
      {.normalise = model.record.normalise, .normalise_targets = model.record.normalise_targets},
      2);
  const Evaluation e = evaluate(*model.network, loader, *session.comm, session.stream);
  if (!session.is_first()) return ExitCode::kDone;
  fmt::print("\n{} on {} split {}\n", checkpoint, data, split);
  print_line("samples",
             fmt::format("{} in {} ({:.0f} samples/s)", e.samples, human_seconds(e.seconds),
                         static_cast<double>(e.samples) / e.seconds));
  print_line("loss", fmt::format("{:.6f}", e.loss));
  if (!e.is_classifier) {
    print_line("mean abs. error", fmt::format("{:.6g}", e.mean_absolute_error));
    print_line("R2", fmt::format("{:.4f}", e.r2));
    return ExitCode::kDone;
  }
  print_line("accuracy", fmt::format("{:.4f}", e.accuracy));
  if (e.top5_accuracy > 0) print_line("top-5 accuracy", fmt::format("{:.4f}", e.top5_accuracy));
  if (e.classes > 0) print_line(e.classes == 2 ? "F1" : "F1, mean", fmt::format("{:.4f}", e.f1));
  if (e.perplexity > 0) print_line("perplexity", fmt::format("{:.4f}", e.perplexity));
  print_confusion(e, dataset.info().class_names);
  return ExitCode::kDone;
}

}  // namespace phalanx
