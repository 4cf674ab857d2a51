// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "comm/rank_layout.hpp"
#include "models/run_record.hpp"
#include "train/bucket_tuner.hpp"

namespace phalanx {

/// How a run was laid out and what it chose by itself, as JSON for OUTPUT/run.json: ranks and hosts, data, where it resumed,
/// and the bucket size with the times of all that were tried. docs/formats.md lists the members.
std::string manifest_json(const TrainConfig& config, const RankLayout& layout,
                          const RunRecord& record, std::int64_t resumed_from,
                          const BucketTuner& tuner);

}  // namespace phalanx
