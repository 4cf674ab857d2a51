// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "comm/rank_layout.hpp"
#include "data/sampler.hpp"
#include "data/transforms.hpp"
#include "train/config.hpp"

namespace phalanx {

/// How a configuration reads a split of `rows` samples on one rank: in shuffled batches cut over the ranks for training, else
/// each sample once.
SamplerOptions sampler_options(const TrainConfig& config, const RankLayout& layout,
                               std::int64_t rows, bool training);

/// What happens to the samples on their way. Augmentation is for training only.
TransformOptions transform_options(const TrainConfig& config, const std::string& loss,
                                   bool training);

}  // namespace phalanx
