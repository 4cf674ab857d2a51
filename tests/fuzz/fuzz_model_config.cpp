// SPDX-License-Identifier: Apache-2.0
#include "serve/model_config.hpp"
#include "serve_fuzz.hpp"

// What is read once is read again as the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    const phalanx::ModelConfig config =
        phalanx::model_config_from_json(phalanx::text_of(data, size), "input");
    const std::string text = phalanx::to_json(config);
    phalanx::require<phalanx::Error>(
        phalanx::to_json(phalanx::model_config_from_json(text, "written")) == text,
        "a configuration changes when it is written");
    config.versions.select({1, 2, 5});
  });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"max_batch_size": 32, "preferred_batch_sizes": [8, 16], "version_policy": {"specific": [1, 3]},
              "aliases": {"stable": {"version": 1, "percent": 90}, "canary": {"version": 3, "percent": 10}}})",
      R"({"max_queue_delay_us": 5, "max_queue_rows": 9, "timeout_ms": 7, "target_p99_ms": 6, "shadow_version": 2})",
      R"({"version_policy": "all"})",
      R"({"version_policy": {"latest": 2}, "aliases": {"a": {"version": 1}}})"};
}
