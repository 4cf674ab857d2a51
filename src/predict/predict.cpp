// SPDX-License-Identifier: Apache-2.0
#include "predict/predict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>

#include "core/log.hpp"
#include "data/dataset.hpp"
#include "data/transforms.hpp"
#include "formats/atomic_file.hpp"
#include "formats/sha256.hpp"
#include "models/answers.hpp"
#include "models/load.hpp"
#include "predict/prediction_file.hpp"

namespace phalanx {
namespace {

PredictionKind kind_of(const RunRecord& record, double threshold) {
  PredictionKind kind{.outputs = record.model.outputs, .threshold = threshold};
  const Task task = task_of(record.loss);
  kind.kind = task == Task::kClassification ? PredictionKind::Kind::kClass
              : task == Task::kBinary       ? PredictionKind::Kind::kBinary
                                            : PredictionKind::Kind::kValues;
  kind.names = task == Task::kClassification ? record.class_names : record.target_names;
  return kind;
}

/// What is predicted from what: two calls with one identity give the same file.
std::string identity_of(const PredictOptions& options, const RunRecord& record,
                        const Checkpoint& checkpoint, const DatasetInfo& info) {
  Sha256 weights;
  for (const Checkpoint::Array& a : checkpoint.arrays())
    if (!a.path.starts_with("/optimizer/")) weights.update(std::as_bytes(std::span(a.values)));
  return fmt::format("checkpoint step {} ({}), data {} split {}, batch {}, threshold {}",
                     record.step, weights.hex().substr(0, 16), info.content_sha256.substr(0, 16),
                     options.split, options.batch_size, options.threshold);
}

/// Statistics come from training, whatever the data set to predict says about itself.
Transform training_transform(const RunRecord& record, DatasetInfo info, const std::string& data) {
  if (!(info.sample == record.model.sample))
    throw InvalidInput(fmt::format("{}: its samples have the shape {}, but the model takes {}",
                                   data, info.sample.str(), record.model.sample.str()));
  info.mean = record.mean;
  info.std = record.std;
  return Transform(info, {.normalise = record.normalise, .normalise_targets = false}, 0);
}

class Predictor {
 public:
  Predictor(const PredictOptions& options, LoadedModel& model, Dataset& data, Stream& stream)
      : options_(options),
        stream_(stream),
        model_(model),
        data_(data),
        transform_(training_transform(model.record, data.info(), options.data)),
        raw_(data.x_row_bytes() * static_cast<std::size_t>(options.batch_size)),
        targets_(data.y_row_bytes() * static_cast<std::size_t>(options.batch_size)),
        x_({DType::kF32, Shape{options.batch_size, transform_.sample_numel()}}, stream.device()) {}

  /// Logits of rows [begin, begin + rows), in the units of the data set for real targets.
  const std::vector<float>& run(std::int64_t begin, std::int64_t rows) {
    data_.read_range(begin, begin + rows, raw_.data(), targets_.data());
    for (std::int64_t i = 0; i < rows; ++i)
      transform_.apply(raw_.data() + static_cast<std::size_t>(i) * data_.x_row_bytes(), begin + i,
                       0, x_.as<float>().data() + i * transform_.sample_numel());
    Executor& executor = model_.network->inference(rows);
    const TensorType type = executor.plan().graph().value(executor.plan().graph().input("x")).type;
    executor.feed("x", on_device(type));
    executor.run({.parameter_version = 1});
    logits_ = values_of<float>(executor.output("logits"), stream_);
    denormalise_targets(model_.record, logits_.data(), rows);
    return logits_;
  }

 private:
  /// The samples where the network reads them.
  ConstTensorView on_device(const TensorType& type) {
    const ConstTensorView host{x_.view().data, type};
    if (stream_.device().backend == nullptr) return host;
    if (x_on_device_.size_bytes() < type.size_bytes())
      x_on_device_ = Buffer(x_.type().size_bytes(), stream_);
    const TensorView to{x_on_device_.data(), type};
    upload(host, to, stream_);
    return to;
  }

  const PredictOptions& options_;
  Stream& stream_;
  LoadedModel& model_;
  Dataset& data_;
  Transform transform_;
  std::vector<std::byte> raw_, targets_;
  HostTensor x_;
  Buffer x_on_device_;
  std::vector<float> logits_;
};

void create_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw IoError(fmt::format("cannot create the output folder {}: {}", folder, error.message()));
}

}  // namespace

PredictReport predict(const PredictOptions& options, const RankLayout& layout, Communicator& comm,
                      Stream& stream) {
  const auto start = std::chrono::steady_clock::now();
  LoadedModel model = load_model(options.checkpoint, options.batch_size, stream);
  Dataset data(options.data, options.split, static_cast<std::size_t>(options.cache_mib) << 20);
  Predictor predictor(options, model, data, stream);
  Stream host{Device{}};
  const PredictionKind kind = kind_of(model.record, options.threshold);
  const std::string identity =
      identity_of(options, model.record, Checkpoint::read(options.checkpoint), data.info());
  PredictReport report{.rows = data.size(), .file = options.output + "/predictions.h5"};
  const std::string partial = options.output + "/predictions.partial.h5";
  const std::string csv = options.output + "/predictions.csv";

  std::int64_t finished = 0;
  if (layout.rank == 0) {
    create_folder(options.output);
    finished = PredictionFile::exists(report.file, identity) ? 1 : 0;
    if (finished == 0 && !PredictionFile::exists(partial, identity))
      PredictionFile::create(partial, identity, kind, data.size(), options.batch_size);
  }
  comm.broadcast({&finished, {DType::kI64, Shape{1}}}, 0, host);

  std::int64_t computed = 0;
  if (finished == 0) {
    PredictionFile file(partial, kind, comm.native_mpi());
    const std::vector<std::uint8_t> done = file.done();
    comm.barrier();  // nobody marks a batch before everyone has read the marks
    const Range mine = layout.share(static_cast<std::int64_t>(done.size()));
    for (std::int64_t batch = mine.begin; batch < mine.end; ++batch) {
      if (done[static_cast<std::size_t>(batch)] != 0) continue;
      const std::int64_t begin = batch * options.batch_size;
      const std::int64_t rows = std::min(options.batch_size, data.size() - begin);
      file.write_batch(batch, begin, rows, predictor.run(begin, rows).data());
      computed += rows;
    }
    comm.barrier();
    file.close();
    comm.all_reduce({&computed, {DType::kI64, Shape{1}}}, ReduceOp::kSum, host);
    if (layout.rank == 0) rename_durably(partial, report.file);
  }
  if (options.csv && layout.rank == 0 && (finished == 0 || !std::filesystem::exists(csv)))
    write_prediction_csv(report.file, csv);
  comm.barrier();
  if (options.csv) report.csv_file = csv;
  report.computed = computed;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace phalanx
