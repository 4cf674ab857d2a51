// SPDX-License-Identifier: Apache-2.0
#include "train/data_options.hpp"

#include <algorithm>

namespace phalanx {

SamplerOptions sampler_options(const TrainConfig& config, const RankLayout& layout,
                               std::int64_t rows, bool training) {
  const Partition partition = parse_partition(config.partition);
  const bool by_column = partition == Partition::kColumn;
  return {
      .rows = rows,
      .partition = training || by_column ? partition : Partition::kShuffle,
      .batch_size = training ? config.batch_size : std::max<std::int64_t>(config.batch_size, 256),
      .micro_batches = training ? config.accumulate : 1,
      .rank = layout.rank,
      .size = layout.size,
      .virtual_shards =
          training && config.reproducible ? static_cast<int>(config.virtual_shards) : 0,
      .seed = static_cast<std::uint64_t>(config.seed),
      .shuffle = training && config.shuffle};
}

TransformOptions transform_options(const TrainConfig& config, const std::string& loss,
                                   bool training) {
  TransformOptions options{.normalise = config.normalise,
                           .normalise_targets = loss == "mean_squared_error"};
  if (training) {
    options.crop_padding = config.augment_crop;
    options.flip = config.augment_flip;
    options.cutout = config.augment_cutout;
  }
  return options;
}

}  // namespace phalanx
