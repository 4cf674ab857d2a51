// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/options.hpp"
#include "cli/session.hpp"
#include "core/text.hpp"
#include "data/dataset.hpp"
#include "data/image.hpp"
#include "data/import.hpp"
#include "formats/atomic_file.hpp"

namespace phalanx {
namespace {

OptionTable import_options(ImportOptions& o, std::int64_t& deflate) {
  OptionTable table("phalanx data import SOURCE [INPUT] --output FILE.h5 [options]");
  table.group("What to import");
  table.add("source", &o.source, "", "layout of the files")
      .choices({"idx", "cifar10", "images", "csv"})
      .required();
  table.add("input", &o.input, "path",
            "folder or file: MNIST-like folder, CIFAR-10 batches, class folders or tar, CSV");
  table.add("output", &o.output, "path", "data set to make").required();
  table.add("deflate", &deflate, "", "compression; 0 reads fastest").at_least(0).at_most(9);
  table.add("test-share", &o.test_share, "", "rows put into 'test' where the source has no split")
      .at_least(0)
      .below(1);
  table.add("seed", &o.seed, "", "of that choice, csv");
  table.add("class-names", &o.class_names, "", "name of label 0, 1, ...; repeat the flag");
  table.group("idx");
  table.add("idx", &o.idx, "",
            "SPLIT=IMAGES,LABELS; repeat for every split; default: MNIST's file names");
  table.group("images");
  table.add("resize-height", &o.resize_height, "pixels", "0: all images must have one size")
      .at_least(0);
  table.add("resize-width", &o.resize_width, "pixels", "0: all images must have one size")
      .at_least(0);
  table.add("channels", &o.channels, "", "1: grey, 3: RGB, 0: as the first image")
      .at_least(0)
      .at_most(3);
  table.group("csv");
  table.add("csv-target", &o.csv_target, "",
            "target column by name or number (-1: the last); repeat for several");
  table.add("csv-target-file", &o.csv_target_file, "path",
            "targets stand in this file, row by row");
  table.add("csv-test-file", &o.csv_test_file, "path", "rows of 'test'");
  table.add("csv-ignore", &o.csv_ignore, "", "column to leave out; repeat for several");
  table.add("csv-kind", &o.csv_kind, "", "of the target")
      .choices({"classification", "binary", "regression"});
  table
      .add("csv-header", &o.csv_header, "",
           "first line: column names, none, or scikit-learn's counts")
      .choices({"names", "none", "sklearn"});
  table.add("csv-delimiter", &o.csv_delimiter, "",
            "one character; tab; a blank means runs of blanks");
  table.add("csv-missing", &o.csv_missing, "", "an empty field").choices({"error", "drop", "mean"});
  table.add("csv-text", &o.csv_text, "", "a column that is not numeric")
      .choices({"category", "error"});
  return table;
}

/// The first one or two words may stand without flags: the source and its input.
std::vector<std::string> with_flags(Arguments arguments) {
  std::vector<std::string> words(arguments.begin(), arguments.end());
  for (const char* flag : {"--source", "--input"}) {
    const std::size_t at = flag == std::string_view("--source") ? 0 : 2;
    if (words.size() <= at || words[at].starts_with("-")) break;
    words.insert(words.begin() + static_cast<std::ptrdiff_t>(at), flag);
  }
  return words;
}

void print_info(const DatasetInfo& info) {
  print_line("sample",
             fmt::format("{} {} {}", info.kind == SampleKind::kImage ? "image" : "table row",
                         name(info.x_dtype), info.sample.str()));
  if (info.target == TargetKind::kClass)
    print_line("target",
               fmt::format("{} classes: {}", info.classes, fmt::join(info.class_names, ", ")));
  else
    print_line("target", fmt::format("{} {}", info.targets,
                                     info.binary ? "value(s), 0 or 1" : "real value(s)"));
  if (info.mean.size() <= 4 && !info.mean.empty())
    print_line("mean, std", fmt::format("{:.4f}; {:.4f}", fmt::join(info.mean, ", "),
                                        fmt::join(info.std, ", ")));
  print_line("content", "SHA-256 " + info.content_sha256);
}

}  // namespace

ExitCode data_import_command(MpiRuntime& mpi, Arguments arguments) {
  ImportOptions options;
  std::int64_t deflate = 0;
  OptionTable table = import_options(options, deflate);
  if (!parse_or_print(table, mpi, with_flags(arguments))) return ExitCode::kDone;
  options.deflate = static_cast<int>(deflate);
  if (mpi.rank() == 0) fmt::print("{}", import_dataset(options).str());
  return ExitCode::kDone;
}

ExitCode data_info_command(MpiRuntime& mpi, Arguments arguments) {
  std::string path;
  OptionTable table("phalanx data info FILE.h5");
  table.group("Input");
  table.add("data", &path, "path", "data set").required().positional();
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  if (mpi.rank() != 0) return ExitCode::kDone;
  fmt::print("{}\n", path);
  print_info(read_dataset_info(path));
  for (const std::string& split : dataset_splits(path)) {
    const Dataset dataset(path, split, 0);
    print_line(split, fmt::format("{} rows, {}", dataset.size(),
                                  human_bytes(static_cast<std::uint64_t>(dataset.size()) *
                                              (dataset.x_row_bytes() + dataset.y_row_bytes()))));
  }
  return ExitCode::kDone;
}

namespace {

/// What a client of the server sends for one table row.
std::string request_of(const float* values, std::int64_t count) {
  return fmt::format("{{\"input\": [{}]}}\n",
                     fmt::join(std::span(values, static_cast<std::size_t>(count)), ", "));
}

std::string target_of(const DatasetInfo& info, const std::byte* y) {
  if (info.target == TargetKind::kClass) {
    const auto label = *reinterpret_cast<const std::int64_t*>(y);
    return info.class_names.empty() ? fmt::format("class {}", label)
                                    : info.class_names[static_cast<std::size_t>(label)];
  }
  const auto* values = reinterpret_cast<const float*>(y);
  return fmt::format("{}",
                     fmt::join(std::span(values, static_cast<std::size_t>(info.targets)), ", "));
}

}  // namespace

ExitCode data_sample_command(MpiRuntime& mpi, Arguments arguments) {
  std::string path, split = "test", output;
  std::int64_t row = 0;
  OptionTable table("phalanx data sample FILE.h5 --output FILE [options]");
  table.group("Input and output");
  table.add("data", &path, "path", "data set").required().positional();
  table.add("split", &split, "", "part of the data set");
  table.add("row", &row, "", "its number in the split").at_least(0);
  table.add("output", &output, "path", "an image becomes a PNG file, a table row a request as JSON")
      .required();
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  if (mpi.rank() != 0) return ExitCode::kDone;
  Dataset dataset(path, split, 0);
  const DatasetInfo& info = dataset.info();
  if (row >= dataset.size())
    throw ConfigError(
        fmt::format("row: {} {} has {} rows, found {}", path, split, dataset.size(), row));
  std::vector<std::byte> x(dataset.x_row_bytes()), y(dataset.y_row_bytes());
  dataset.read_range(row, row + 1, x.data(), y.data());
  const bool is_picture = info.kind == SampleKind::kImage && info.x_dtype == DType::kU8 &&
                          (info.sample[0] == 1 || info.sample[0] == 3);
  if (is_picture) {
    write_png(image_of_planes(reinterpret_cast<const std::uint8_t*>(x.data()), info.sample[0],
                              info.sample[1], info.sample[2]),
              output);
  } else if (info.x_dtype == DType::kF32) {
    write_file_atomically(
        output, request_of(reinterpret_cast<const float*>(x.data()), info.sample.numel()));
  } else {
    throw Unsupported(
        fmt::format("{}: samples {} are neither pictures nor table rows", path, info.sample.str()));
  }
  print_line("sample", output);
  print_line("target", target_of(info, y.data()));
  return ExitCode::kDone;
}

}  // namespace phalanx
