// SPDX-License-Identifier: Apache-2.0
#include "serve/served_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "core/error.hpp"
#include "models/load.hpp"
#include "models/served_network.hpp"
#include "serve/pixel_bytes.hpp"
#include "serve/safe_file.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t nanoseconds_since(Clock::time_point begin) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count());
}

DatasetInfo info_of(const RunRecord& record, DType stored) {
  DatasetInfo info;
  info.kind = record.is_image ? SampleKind::kImage : SampleKind::kTable;
  info.sample = record.model.sample;
  info.x_dtype = stored;
  info.mean = record.mean;
  info.std = record.std;
  return info;
}

Transform transform_of(const RunRecord& record, DType stored) {
  const DatasetInfo info = info_of(record, stored);
  return Transform(info, {.normalise = record.normalise, .normalise_targets = false}, 0);
}

void check_schema(const Manifest& manifest, const RunRecord& record) {
  const auto expect = [&](bool ok, const char* what) {
    if (!ok)
      throw InvalidInput(fmt::format("version {} of '{}': the manifest and {} differ in {}",
                                     manifest.version, manifest.name, kWeightsFile, what));
  };
  expect(manifest.input.shape == record.model.sample, "the shape of the input");
  expect(manifest.output.shape == Shape{record.model.outputs}, "the number of outputs");
  expect(manifest.task == task_of(record.loss), "the task");
}

}  // namespace

std::vector<std::int64_t> planned_batch_sizes(std::int64_t most) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = 1; size < most; size *= 2) {
    sizes.push_back(size);
    if (const std::int64_t between = size + size / 2; between > size && between < most)
      sizes.push_back(between);
  }
  sizes.push_back(most);
  return sizes;
}

ServedModel::ServedModel(const Manifest& manifest, LoadedModel loaded, std::int64_t max_batch_size,
                         Stream& stream)
    : stream_(stream),
      record_(std::move(loaded.record)),
      network_(fold_for_serving(std::move(loaded.network), max_batch_size, stream)),
      transform_(transform_of(record_, record_.is_image ? DType::kU8 : DType::kF32)),
      sample_numel_(record_.model.sample.numel()) {
  check_schema(manifest, record_);
  // What the manifest says about data counts: it is what clients were told.
  record_.normalise_targets = manifest.normalise_targets;
  record_.target_mean = manifest.target_mean;
  record_.target_std = manifest.target_std;
  if (record_.is_image) {
    RunRecord scaled = record_;  // statistics in units of pixels
    for (float& v : scaled.mean) v *= static_cast<float>(manifest.divide_by);
    for (float& v : scaled.std) v *= static_cast<float>(manifest.divide_by);
    if (!record_.normalise) {  // pixels are divided all the same
      scaled.normalise = true;
      scaled.mean.assign(static_cast<std::size_t>(record_.model.sample[0]), 0.0f);
      scaled.std.assign(scaled.mean.size(), static_cast<float>(manifest.divide_by));
    }
    of_floats_ = std::make_unique<Transform>(transform_of(scaled, DType::kF32));
    bytes_.resize(static_cast<std::size_t>(sample_numel_));
  }
  plan(max_batch_size);
}

std::unique_ptr<ServedModel> ServedModel::load(const Manifest& manifest, const std::string& folder,
                                               std::int64_t max_batch_size, Device device) {
  const SafeFile weights(folder, kWeightsFile);
  const std::string found = weights.sha256();
  if (const std::string& expected = manifest.files.at(kWeightsFile).sha256; found != expected)
    throw InvalidInput(fmt::format("{}: its SHA-256 is {}, but the manifest says {}",
                                   weights.path(), found, expected));
  auto stream = std::make_unique<Stream>(device);
  LoadedModel loaded = load_model(weights.proc_path(), max_batch_size, *stream);
  auto model = std::make_unique<ServedModel>(manifest, std::move(loaded), max_batch_size, *stream);
  model->own_stream_ = std::move(stream);
  return model;
}

/// Every plan is made and run here, so that no request waits for one.
void ServedModel::plan(std::int64_t max_batch_size) {
  sizes_ = planned_batch_sizes(max_batch_size);
  const Device device = stream_.device();
  x_ = HostTensor({DType::kF32, Shape{max_batch_size, sample_numel_}}, device);
  std::ranges::fill(x_.as<float>(), 0.0f);
  logits_ = HostTensor({DType::kF32, Shape{max_batch_size, record_.model.outputs}}, device);
  if (device.backend != nullptr) x_on_device_ = Buffer(x_.type().size_bytes(), stream_);
  for (auto size = sizes_.rbegin(); size != sizes_.rend(); ++size) {
    Executor& executor = network_->inference(*size);
    executor.feed("x", on_device(executor.input_type("x")));
    executor.run({.parameter_version = 1});
  }
  stream_.synchronize();
}

std::size_t ServedModel::memory_bytes() const noexcept {
  const ParameterLayout& layout = network_->parameters().layout();
  return network_->arena_bytes() +
         sizeof(float) *
             static_cast<std::size_t>(layout.parameter_elements() + layout.state_elements());
}

/// The samples where the network reads them.
ConstTensorView ServedModel::on_device(const TensorType& type) {
  const ConstTensorView host{x_.view().data, type};
  if (stream_.device().backend == nullptr) return host;
  const TensorView to{x_on_device_.data(), type};
  upload(host, to, stream_);
  return to;
}

/// Pixels that are whole numbers take the way of training and of `phalanx predict`, to the same bits.
void ServedModel::prepare_row(const std::byte* from, bool is_u8, float* to) {
  if (is_u8) return transform_.apply(from, 0, 0, to);
  if (of_floats_ == nullptr) return transform_.apply(from, 0, 0, to);
  const std::span values(reinterpret_cast<const float*>(from), bytes_.size());
  if (to_pixel_bytes(values, bytes_.data()))
    transform_.apply(reinterpret_cast<const std::byte*>(bytes_.data()), 0, 0, to);
  else
    of_floats_->apply(from, 0, 0, to);
}

ServedModel::Times ServedModel::run(std::span<const Part> parts) {
  Times times;
  auto begin = Clock::now();
  std::int64_t rows = 0;
  for (const Part& part : parts) {
    const std::size_t row_bytes =
        static_cast<std::size_t>(sample_numel_) * (part.is_u8 ? 1 : sizeof(float));
    for (std::int64_t i = 0; i < part.rows; ++i, ++rows)
      prepare_row(part.input + static_cast<std::size_t>(i) * row_bytes, part.is_u8,
                  x_.as<float>().data() + rows * sample_numel_);
  }
  require(rows <= sizes_.back(), "a batch is larger than planned");
  Executor& executor = network_->inference(*std::ranges::lower_bound(sizes_, rows));
  executor.feed("x", on_device(executor.input_type("x")));
  times.input_ns = nanoseconds_since(begin);

  begin = Clock::now();
  executor.run({.parameter_version = 1});
  const ConstTensorView logits = executor.output("logits");
  download(logits, {logits_.view().data, logits.type}, stream_);
  stream_.synchronize();
  times.infer_ns = nanoseconds_since(begin);

  begin = Clock::now();
  float* from = logits_.as<float>().data();
  answer_in_place(record_, from, rows);
  const std::int64_t outputs = record_.model.outputs;
  for (const Part& part : parts) {
    std::memcpy(part.output, from, sizeof(float) * static_cast<std::size_t>(part.rows * outputs));
    from += part.rows * outputs;
  }
  times.output_ns = nanoseconds_since(begin);
  return times;
}

}  // namespace phalanx
