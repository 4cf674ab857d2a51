// SPDX-License-Identifier: Apache-2.0
#include "bench/made_up_training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "core/rng.hpp"
#include "train/trainer.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kDifferentRows = 64;

DatasetInfo image(std::int64_t channels, std::int64_t side) {
  DatasetInfo info;
  info.kind = SampleKind::kImage;
  info.sample = Shape{channels, side, side};
  info.x_dtype = DType::kU8;
  info.classes = 10;
  info.mean.assign(static_cast<std::size_t>(channels), 0.5f);
  info.std.assign(static_cast<std::size_t>(channels), 0.25f);
  return info;
}

DatasetInfo table(std::int64_t features, bool binary) {
  DatasetInfo info;
  info.sample = Shape{features};
  info.target = TargetKind::kValues;
  info.binary = binary;
  info.mean.assign(static_cast<std::size_t>(features), 0.0f);
  info.std.assign(static_cast<std::size_t>(features), 1.0f);
  info.target_mean = {0.5f};
  info.target_std = {0.5f};
  return info;
}

DatasetInfo noise_info(const std::string& kind) {
  if (kind == "cifar10") return image(3, 32);
  if (kind == "fashion") return image(1, 28);
  if (kind == "binary") return table(30, true);
  if (kind == "regression") return table(10, false);
  throw ConfigError(
      fmt::format("--data: expected cifar10, fashion, binary or regression, found '{}'", kind));
}

std::int64_t rows_of_rank(const TrainConfig& config, const RankLayout& layout) {
  return (config.batch_size / config.accumulate + layout.size - 1) / layout.size;
}

}  // namespace

NoiseSource::NoiseSource(const std::string& kind, std::int64_t rows)
    : info_(noise_info(kind)), rows_(rows) {
  bytes_.resize(static_cast<std::size_t>(info_.sample.numel() * kDifferentRows) *
                size_bytes(info_.x_dtype));
  // Small bytes: dark pixels, and as floats numbers below 1.
  for (std::size_t i = 0; i < bytes_.size(); ++i)
    bytes_[i] = static_cast<std::byte>(
        philox(1, {static_cast<std::uint32_t>(i / 4), 0, 0, 0})[i % 4] & 0x3fu);
}

void NoiseSource::read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) {
  const std::size_t row_bytes =
      static_cast<std::size_t>(info_.sample.numel()) * size_bytes(info_.x_dtype);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(bytes_.data() + static_cast<std::size_t>(rows[i] % kDifferentRows) * row_bytes,
                row_bytes, x + i * row_bytes);
    if (info_.target == TargetKind::kClass)
      reinterpret_cast<std::int64_t*>(y)[i] = rows[i] % info_.classes;
    else
      for (std::int64_t k = 0; k < info_.targets; ++k)
        reinterpret_cast<float*>(y)[static_cast<std::int64_t>(i) * info_.targets + k] =
            static_cast<float>(rows[i] % 2);
  }
}

MadeUpTraining::MadeUpTraining(const TrainConfig& config, const RankLayout& layout,
                               Communicator& comm, Stream& stream)
    : rows_per_rank_(rows_of_rank(config, layout)),
      shards_(config.reproducible ? config.virtual_shards / layout.size : 0),
      source_(config.data, config.batch_size * 64),
      network_({.model = model_spec(config, source_.info()),
                .loss = resolve_loss(config, source_.info()),
                .precision = config.precision,
                .sums_states = config.reproducible},
               rows_per_rank_, stream, &comm),
      reducer_(make_gradient_reducer(config, network_, comm, stream)),
      optimizer_(config, network_.parameters().parameters().numel(), reducer_.get(), stream),
      step_(config, network_, optimizer_, reducer_.get(), comm, stream),
      loader_(source_,
              Sampler({.rows = source_.size(),
                       .batch_size = config.batch_size,
                       .micro_batches = config.accumulate,
                       .rank = layout.rank,
                       .size = layout.size,
                       .virtual_shards =
                           config.reproducible ? static_cast<int>(config.virtual_shards) : 0}),
              {}, config.prefetch, stream.device()) {
  network_.initialise(1);
  loader_.begin(0);
}

Executor& MadeUpTraining::executor() {
  return network_.training(rows_per_rank_ / std::max<std::int64_t>(shards_, 1), shards_);
}

}  // namespace phalanx
