// SPDX-License-Identifier: Apache-2.0
#include "serve/api_keys.hpp"
#include "serve_fuzz.hpp"

// What is read once is read again as the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    const std::string text =
        phalanx::to_json(phalanx::keys_from_json(phalanx::text_of(data, size), "input"));
    phalanx::require<phalanx::Error>(
        phalanx::to_json(phalanx::keys_from_json(text, "written")) == text,
        "keys change when they are written");
  });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  const std::string digest(64, 'a');
  return {
      R"({"keys": [{"name": "a", "access": "infer", "sha256": ")" + digest +
          R"(", "models": ["m"], "expires": "2026-11-25T15:04:05Z", "requests_per_second": 2.5}]})",
      R"({"keys": [{"name": "b", "access": "admin", "sha256": ")" + digest +
          R"("}, {"name": "c", "access": "infer", "sha256": ")" + digest + R"("}]})",
      R"({"keys": []})"};
}
