// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace phalanx {

/// Which versions of a model are served.
struct VersionPolicy {
  enum class Kind { kLatest, kAll, kSpecific };
  Kind kind = Kind::kLatest;
  std::int64_t count = 1;              ///< kLatest: so many of the highest
  std::vector<std::int64_t> versions;  ///< kSpecific

  /// Those of `published`, ascending, that are served, ascending.
  std::vector<std::int64_t> select(const std::vector<std::int64_t>& published) const;
};

/// A name for a version, and its share of the requests that name neither version nor alias.
struct Alias {
  std::int64_t version = 0;
  int percent = 0;
};

/// How a model is served: NAME/config.json of the repository, every member optional.
///
///   {"max_batch_size": 64, "max_queue_delay_us": 2000, "preferred_batch_sizes": [16, 32], "max_queue_rows": 1024,
///    "timeout_ms": 10000, "target_p99_ms": 50, "version_policy": {"latest": 1} | "all" | {"specific": [1, 3]},
///    "aliases": {"stable": {"version": 1, "percent": 90}, "canary": {"version": 2, "percent": 10}}, "shadow_version": 3}
struct ModelConfig {
  std::int64_t max_batch_size = 64;  ///< rows
  std::int64_t max_queue_delay_us =
      2000;  ///< longest that a request waits for others to share its batch
  std::vector<std::int64_t> preferred_batch_sizes;  ///< ascending
  std::int64_t max_queue_rows = 1024;               ///< beyond, requests are refused
  std::int64_t timeout_ms = 10000;                  ///< of a request that names none
  std::int64_t target_p99_ms = 0;  ///< waiting for a batch gives way to it; 0: none
  VersionPolicy versions;
  std::map<std::string, Alias> aliases;  ///< percents add up to 100, or are all 0
  std::int64_t shadow_version =
      0;  ///< gets a copy of all requests, and nobody its answers; 0: none
};

inline constexpr const char* kModelConfigFile = "config.json";

/// Throws    InvalidInput naming `source`, the member, what was expected and what was found; unknown members are refused.
ModelConfig model_config_from_json(const std::string& text, const std::string& source);
/// The same members again.
std::string to_json(const ModelConfig& config);

}  // namespace phalanx
