// SPDX-License-Identifier: Apache-2.0
#include "train/manifest.hpp"

#include <nlohmann/json.hpp>

namespace phalanx {

std::string manifest_json(const TrainConfig& config, const RankLayout& layout,
                          const RunRecord& record, std::int64_t resumed_from,
                          const BucketTuner& tuner) {
  constexpr double kMiB = 1 << 20;
  nlohmann::ordered_json trials = nlohmann::ordered_json::array();
  for (const BucketTuner::Trial& trial : tuner.trials())
    if (trial.seconds > 0)
      trials.push_back({{"mib", static_cast<double>(trial.bucket_bytes) / kMiB},
                        {"step_seconds", trial.seconds}});
  const nlohmann::ordered_json json{{"format", "phalanx.run"},
                                    {"version", 1},
                                    {"ranks", layout.size},
                                    {"nodes", layout.nodes},
                                    {"hosts", layout.hosts},
                                    {"data_sha256", record.data_sha256},
                                    {"resumed_from_step", resumed_from},
                                    {"reproducible", config.reproducible},
                                    {"shard_optimizer", config.shard_optimizer},
                                    {"gradient_compression", config.gradient_compression},
                                    {"bucket",
                                     {{"setting", config.bucket},
                                      {"mib", static_cast<double>(tuner.bucket_bytes()) / kMiB},
                                      {"is_final", tuner.is_done()},
                                      {"trials", trials}}}};
  return json.dump(2) + "\n";
}

}  // namespace phalanx
